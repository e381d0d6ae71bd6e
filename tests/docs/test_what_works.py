"""The page of what works says what the tests of networks run through."""

from tests.docs.what_works import PAGE, written


def test_the_tables_are_those_of_the_tests_lists():
    page = PAGE.read_text(encoding="utf-8")
    assert page == written(page), "run `python -m tests.docs.what_works`"
