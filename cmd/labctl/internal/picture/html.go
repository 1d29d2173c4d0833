package picture

import "strings"

// writeHTML writes a scene as a page that needs nothing but itself: it follows the reader's choice of light or dark,
// prints on one landscape page, and shows what belongs to what is pointed at. A click holds that, another or Escape
// lets go.
func writeHTML(p Picture, s scene) string {
	var b strings.Builder
	b.WriteString("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n")
	b.WriteString("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<meta name=\"color-scheme\" content=\"light dark\">\n")
	b.WriteString("<title>" + escape(p.Lab.Name) + "</title>\n<style>" + style + pageStyle)
	b.WriteString("@media screen and (prefers-color-scheme: dark) {" + darkStyle + "body { background: #12171d; }\n}\n</style>\n</head>\n<body>\n")
	s.svg(&b, "")
	b.WriteString("<script>" + script + "</script>\n</body>\n</html>\n")
	return b.String()
}

// pageStyle is for the page around the drawing, and for what is pointed at.
const pageStyle = `
body { margin: 0; background: #ffffff; }
.picture { display: block; margin: 0 auto; max-width: 100%; height: auto; }
.machine, .network, .world { cursor: pointer; }
.pointed .machine, .pointed .network, .pointed .leg, .pointed .world { opacity: 0.22; }
.pointed .dots { opacity: 0.4; }
.pointed .lit { opacity: 1; }
.pointed .leg.lit .line { stroke-width: 3; }
@media print {
 @page { size: landscape; margin: 8mm; }
 body { -webkit-print-color-adjust: exact; print-color-adjust: exact; }
 .picture { width: 100%; max-height: 95vh; }
 .pointed * { opacity: 1 !important; }
}
`

// script lights up what belongs to a machine (its legs and their networks) or to a network (its legs and their
// machines).
const script = `
(function () {
  var svg = document.querySelector("svg"), held = null;
  var all = [].slice.call(svg.querySelectorAll("[data-m], [data-n]"));
  function has(g, n) { return (g.getAttribute("data-n") || "").split(" ").indexOf(n) >= 0; }
  function belongs(g, to) {
    if (g === to) return true;
    var m = to.getAttribute("data-m"), isLeg = g.classList.contains("leg");
    if (m !== null) return isLeg ? g.getAttribute("data-m") === m
      : g.classList.contains("network") && has(to, g.getAttribute("data-n"));
    return (to.getAttribute("data-n") || "").split(" ").some(function (n) {
      return to.classList.contains("world") ? !g.hasAttribute("data-m") && has(g, n) : has(g, n);
    });
  }
  function show(to) {
    svg.classList.toggle("pointed", to !== null);
    all.forEach(function (g) { g.classList.toggle("lit", to !== null && belongs(g, to)); });
  }
  function at(e) { return e.target.closest(".machine, .network, .world"); }
  svg.addEventListener("mouseover", function (e) { if (!held) show(at(e)); });
  svg.addEventListener("mouseleave", function () { if (!held) show(null); });
  svg.addEventListener("click", function (e) { var g = at(e); held = g === held ? null : g; show(held); });
  document.addEventListener("keydown", function (e) { if (e.key === "Escape") { held = null; show(null); } });
})();
`
