"""A mod whose folder leads out of the workspace is refused before anything of it runs."""

from __future__ import annotations

from pathlib import Path

from workspaces import Workspace


async def test_a_mod_that_leads_out_of_the_workspace_by_a_link_is_refused(work: Workspace, tmp_path: Path) -> None:
    """Nothing of it is imported."""
    outside = tmp_path.parent / f"{tmp_path.name}-outside"
    outside.mkdir()
    (outside / "mod.py").write_text("raise SystemExit('it was executed')\n")
    await work.start()
    (work.folder / "mods").mkdir(exist_ok=True)
    (work.folder / "mods" / "linked").symlink_to(outside)
    answer = await work.net.load_mod("mods.linked")
    assert not answer.success
    assert "resolves outside the workspace through a link" in answer.message
    assert work.modules() == []
