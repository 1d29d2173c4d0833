def check(request):
    began = time.monotonic()
    ok, got, tries = holds(request["kind"], request["check"], request["within"])
    say({"ok": ok, "got": got, "tries": tries, "seconds": round(time.monotonic() - began, 3)})
