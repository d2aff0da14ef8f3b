"""Which clients the comparison of rooms leaves out: those that have gone, and are still held open by their io-node."""

from pathlib import Path

from tests.chaos.rooms import gone_unheard

CLIENTS = """\
o 1 7 THERE 1 0
o 2 8 HELD 0 0
p 3 8 HELD
o 4 9 TOLD 0 0
p 5 9 TOLD
o 6 10 BACK 1 0
p 7 10 BACK
o 8 10 BACK 1 1
"""


def test_who_has_gone_without_a_disconnect(tmp_path: Path) -> None:
    (tmp_path / "clients-0.txt").write_text(CLIENTS)
    (tmp_path / "app-50.txt").write_text("d 6 9 TOLD 0 ping timeout\nd 8 10 BACK 0 transport close\n")
    assert gone_unheard(tmp_path) == {"HELD"}
