"""Progress of a long run, with a terminal and without."""

from threading import Event

from fex.cli.progress import progress


def test_progress_is_plain_lines_without_a_terminal(capsys):
    with progress(3000, "images", interval=0.0) as advance:
        advance()
        advance(1999)
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith("1 of 3,000 images, ")
    assert second.startswith("2,000 of 3,000 images, ")
    assert " images/s, " in second
    assert second.endswith(" left")


def test_time_left_is_told_from_what_took_time(capsys, monkeypatch):
    now = [100.0]
    monkeypatch.setattr("fex.cli.progress.time.perf_counter", lambda: now[0])
    with progress(100, "images", interval=1.0) as advance:
        advance(40, free=True)
        now[0] += 10
        advance(20)  # 2 a second, and 40 are left
    with progress(None, "images", interval=1.0) as advance:
        now[0] += 3600
        advance(3600)
    assert capsys.readouterr().err.splitlines() == [
        "60 of 100 images, 2.0 images/s, 0:00:20 left",
        "3,600 images, 1.0 images/s",
    ]


def test_what_will_be_free_of_the_rest_is_judged_by_what_was(capsys, monkeypatch):
    """One method is added to nine that are finished: of each batch nine parts in ten are free."""
    now = [0.0]
    monkeypatch.setattr("fex.cli.progress.time.perf_counter", lambda: now[0])
    with progress(1000, "explanations", interval=15.0) as advance:
        for _ in range(2):
            advance(90, free=True)
            now[0] += 10
            advance(10)
    # The first 90 were no work; then 110 in 20 s: 800 take some 145.
    assert capsys.readouterr().err.splitlines() == ["200 of 1,000 explanations, 5.5 explanations/s, 0:02:25 left"]


def test_an_image_that_takes_long_is_heard_of_while_it_does(capsys):
    told, queries = Event(), [0]

    def note():
        queries[0] += 500
        if queries[0] >= 1000:
            told.set()
        return f"{queries[0]:,} queries"

    with progress(2, "images", interval=0.01, note=note):
        assert told.wait(60)  # not one image is done
    assert capsys.readouterr().err.splitlines()[:2] == ["0 of 2 images, 500 queries", "0 of 2 images, 1,000 queries"]
