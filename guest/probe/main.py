raise_limits()
{"listen": listen, "report": report, "ask": ask, "check": check}[REQUEST["do"]](REQUEST)
