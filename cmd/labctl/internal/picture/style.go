package picture

// style is the style sheet of the drawing, by light. Sizes of texts are those of fontOf.
const style = `
.picture { font-family: Helvetica, Arial, "Liberation Sans", "DejaVu Sans", sans-serif; }
.paper { fill: #ffffff; }
text { fill: #1c2733; white-space: pre; }
.name, .wire { font-size: 13px; font-weight: bold; }
.addr, .nat { font-family: "DejaVu Sans Mono", Menlo, Consolas, "Liberation Mono", monospace; font-size: 10.5px; fill: #37475a; }
.nat { font-weight: bold; fill: #b3470b; }
.small, .group { font-size: 10px; fill: #66737f; }
.group { fill: #2f5f9e; }
.mark { font-size: 10px; font-weight: bold; }
.fact { font-family: "DejaVu Sans Mono", Menlo, Consolas, "Liberation Mono", monospace; font-size: 11px; }
.head { font-size: 20px; font-weight: bold; }
.key { font-size: 12px; fill: #4a5866; }
.worldname { font-size: 13px; font-weight: bold; fill: #3d4c5c; }
.cloud { fill: #e8eef5; stroke: #5b6b7f; stroke-width: 1.6; }
.bar { stroke: none; fill: #5b6b7f; }
.network text { fill: #ffffff; }
.line { fill: none; stroke: #5b6b7f; stroke-width: 1.7; }
.dot { fill: #ffffff; stroke: #37475a; stroke-width: 1.3; }
.box { fill: #ffffff; stroke: #8492a0; stroke-width: 1.2; }
.router .box { fill: #eaf2fc; stroke: #2f5f9e; stroke-width: 1.8; }
.icon { fill: none; stroke: #5b6b7f; stroke-width: 1.1; stroke-linecap: round; stroke-linejoin: round; }
.router .icon { stroke: #1f4f8f; stroke-width: 1.2; }
.off .box { stroke-dasharray: 2 3; }
.off .name { fill: #8492a0; }
.down .line { stroke-dasharray: 2 4; }
.swatch { fill: #ffffff; stroke: #8492a0; stroke-width: 1.4; }
.c0 .bar { fill: #56657a; } .c0 .line { stroke: #56657a; }
.c1 .bar { fill: #2b6cb0; } .c1 .line { stroke: #2b6cb0; }
.c2 .bar { fill: #1a8272; } .c2 .line { stroke: #1a8272; }
.c3 .bar { fill: #7b4fb5; } .c3 .line { stroke: #7b4fb5; }
.c4 .bar { fill: #b35c14; } .c4 .line { stroke: #b35c14; }
.c5 .bar { fill: #b13a6d; } .c5 .line { stroke: #b13a6d; }
.c6 .bar { fill: #66771b; } .c6 .line { stroke: #66771b; }
.c7 .bar { fill: #14809e; } .c7 .line { stroke: #14809e; }
.c8 .bar { fill: #86593b; } .c8 .line { stroke: #86593b; }
.c9 .bar { fill: #4b55b8; } .c9 .line { stroke: #4b55b8; }
.same .bar { fill: #d5dbe1; } .network.same text { fill: #55626f; } .same .line { stroke: #b9c2cb; stroke-width: 1.4; }
.same .box { fill: #ffffff; stroke: #b9c2cb; } .machine.same text { fill: #74808c; } .same .icon { stroke: #9aa5b0; }
.same .cloud { fill: #f2f5f8; stroke: #9aa5b0; } .same .swatch { fill: #ffffff; stroke: #b9c2cb; }
.new .bar { fill: #1f7a3d; } .new .line { stroke: #1f7a3d; stroke-width: 2; }
.new .box, .new .swatch, .new .cloud { fill: #e3f5e8; stroke: #1f7a3d; stroke-width: 1.8; } .new .mark { fill: #14602d; } .new .icon { stroke: #1f7a3d; }
.changed .bar { fill: #9a6700; } .changed .line { stroke: #9a6700; stroke-width: 2; }
.changed .box, .changed .swatch, .changed .cloud { fill: #fff4d1; stroke: #b07800; stroke-width: 1.8; } .changed .mark { fill: #7d5300; } .changed .icon { stroke: #9a6700; }
.again .bar { fill: #c2410c; } .again .line { stroke: #c2410c; stroke-width: 2; }
.again .box, .again .swatch { fill: #ffe6da; stroke: #c2410c; stroke-width: 2; } .again .mark { fill: #9b2f05; } .again .icon { stroke: #c2410c; }
.gone .bar, .missing .bar { fill: #fbe9e9; stroke: #b42318; stroke-width: 1.5; stroke-dasharray: 5 4; }
.gone .line, .missing .line { stroke: #b42318; stroke-dasharray: 5 4; }
.gone .box, .missing .box, .gone .swatch, .missing .swatch { fill: #fdecec; stroke: #b42318; stroke-width: 1.6; stroke-dasharray: 5 4; }
.network.gone text, .network.missing text, .gone .mark, .missing .mark { fill: #8f1a12; } .gone .name { text-decoration: line-through; } .gone .icon, .missing .icon { stroke: #b42318; }
.extra .bar { fill: #f1e8fb; stroke: #7b4fb5; stroke-width: 1.5; stroke-dasharray: 5 4; } .extra .line { stroke: #7b4fb5; stroke-dasharray: 5 4; }
.extra .box, .extra .swatch { fill: #f4edfc; stroke: #7b4fb5; stroke-width: 1.6; stroke-dasharray: 5 4; } .network.extra text, .extra .mark { fill: #56318a; } .extra .icon { stroke: #7b4fb5; }
.here .bar { fill: #1d5fd1; } .here .line { stroke: #1d5fd1; stroke-width: 2.6; }
.here .box, .here .swatch, .here .cloud { fill: #dbe9ff; stroke: #1d5fd1; stroke-width: 2.6; } .here .mark { fill: #15479c; } .here .icon { stroke: #1d5fd1; }
.way .bar { fill: #3f7be0; } .way .line { stroke: #3f7be0; stroke-width: 2.6; }
.way .box, .way .swatch, .way .cloud { fill: #eef4ff; stroke: #3f7be0; stroke-width: 2; } .way .icon { stroke: #1d5fd1; }
.network.new .mark, .network.changed .mark, .network.again .mark, .network.here .mark, .network.way .mark { fill: #ffffff; }
`

// darkStyle is what differs in the dark.
const darkStyle = `
.paper { fill: #12171d; }
text, .machine.same text { fill: #dfe6ee; }
.addr { fill: #b7c4d1; } .nat { fill: #f0a35e; } .small { fill: #93a1af; } .group { fill: #8ab8f2; } .key { fill: #aab7c4; } .worldname { fill: #d5dee8; }
.machine.same text { fill: #8a97a4; }
.cloud, .same .cloud { fill: #222c37; stroke: #8fa0b3; }
.dot { fill: #12171d; stroke: #c3ced9; }
.box, .same .box, .swatch, .same .swatch { fill: #1b232c; stroke: #5c6b7a; }
.router .box { fill: #1a2a3f; stroke: #6ea3e6; } .router.same .box { fill: #1b232c; stroke: #5c6b7a; }
.icon { stroke: #a3b2c2; } .router .icon { stroke: #8ab8f2; }
.same .bar { fill: #333f4b; } .network.same text { fill: #b7c4d1; } .same .line { stroke: #4a5866; }
.new .box, .new .swatch, .new .cloud { fill: #12301c; stroke: #46b36a; } .new .line { stroke: #46b36a; } .new .mark { fill: #7bdc9b; } .new .icon { stroke: #46b36a; }
.changed .box, .changed .swatch, .changed .cloud { fill: #35290b; stroke: #d9a520; } .changed .line { stroke: #d9a520; } .changed .mark { fill: #f2c84b; } .changed .icon { stroke: #d9a520; }
.again .box, .again .swatch { fill: #3a1d10; stroke: #f07a46; } .again .line { stroke: #f07a46; } .again .mark { fill: #ffa27a; } .again .icon { stroke: #f07a46; }
.gone .box, .missing .box, .gone .swatch, .missing .swatch, .gone .bar, .missing .bar { fill: #3a1516; stroke: #f06a60; } .gone .line, .missing .line { stroke: #f06a60; }
.network.gone text, .network.missing text, .gone .mark, .missing .mark { fill: #ff9d95; } .gone .icon, .missing .icon { stroke: #f06a60; }
.extra .box, .extra .swatch, .extra .bar { fill: #2a1d3d; stroke: #b48ae8; } .extra .line { stroke: #b48ae8; } .network.extra text, .extra .mark { fill: #d3b6f7; } .extra .icon { stroke: #b48ae8; }
.here .box, .here .swatch, .here .cloud { fill: #142849; stroke: #6ea3ff; } .here .line, .way .line { stroke: #6ea3ff; } .here .mark { fill: #a9c9ff; } .here .icon, .way .icon { stroke: #8ab8ff; }
.way .box, .way .swatch, .way .cloud { fill: #16233a; stroke: #6ea3ff; }
`
