"""Where saves are looked for, and how: folders elsewhere, polling; and the editor that opens the latest error."""

from __future__ import annotations

from pathlib import Path

from processes import ECHO_BROKEN, Running, oa_dev, write

MOD = """
from devserver import BaseMod, EventResponse, mod_event_handler
from words_elsewhere import WORD


class EchoMod(BaseMod):
    @mod_event_handler("echo.say")
    def say(self, event):
        return EventResponse(True, WORD)
"""


def test_a_module_in_a_folder_elsewhere_is_reloaded(tmp_path: Path) -> None:
    """`--watch-paths` names the folder, relative to network.yaml; the mod that imports it is reloaded with it."""
    (tmp_path / "lib").mkdir()
    words = tmp_path / "lib" / "words_elsewhere.py"
    words.write_text("WORD = 'one'\n")
    head = f"import sys\nsys.path.insert(0, {str(words.parent)!r})\nfrom words"
    folder = write(tmp_path / "net", echo=MOD.replace("from words", head))
    running = Running(folder, "--watch-paths", "../lib", "--poll")
    try:
        assert running.until(type="ready")["watching"]
        assert oa_dev(folder, "send", "echo.say").stdout == "one\n"
        words.write_text("WORD = 'another'\n")
        running.until(type="outcome", mod_id="echo", status="applied")
        assert oa_dev(folder, "send", "echo.say").stdout == "another\n"
    finally:
        running.end()


def test_the_latest_error_opens_in_the_editor(server: Running) -> None:
    """With its file and line; without an error or an editor that is said."""
    folder = server.folder
    assert "no error" in oa_dev(folder, "edit", "--print", OA_DEV_EDITOR="code").stderr
    write(folder, echo=ECHO_BROKEN)
    oa_dev(folder, "settle")
    told = oa_dev(folder, "edit", "--print", OA_DEV_EDITOR="code").stdout
    assert told.startswith(f"code -g {folder}/mods/echo/mod.py:")
    assert "no editor is set" in oa_dev(folder, "edit", VISUAL="", EDITOR="").stderr
