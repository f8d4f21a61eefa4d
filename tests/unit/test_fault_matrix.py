"""The page of the fault matrix."""

from __future__ import annotations

from fault_matrix import PAGE, Row, all_rows, page, table


def test_the_page_holds_the_rows_that_there_are():
    assert PAGE.read_text() == page(all_rows()), "make faults"


def test_no_two_rows_are_the_same():
    rows = all_rows()
    assert len(set(rows)) == len(rows)


def test_a_row_that_failed_is_told_from_one_that_counted_something():
    rows = Row("Jobs", "one fails", "Nothing"), Row("Jobs", "one is lost", "Nothing")
    title, group, failed, lost = table({rows[0]: None, rows[1]: (0, 1, 0)})
    assert title.split("  ")[-1] == "wrong-user access"
    assert group == "Jobs"
    assert failed.split()[-1] == "FAILED"
    assert lost.split()[-3:] == ["0", "1", "0"]
