import gc

import pytest

from cnnviz.loading import loading


def test_nothing_is_collected_while_libraries_load_and_they_are_not_looked_through_later() -> None:
    gc.unfreeze()
    with loading():
        assert not gc.isenabled()
        library = [[]]  # type: ignore[var-annotated]
        assert any(each is library for each in gc.get_objects())
    assert gc.isenabled()
    assert gc.get_freeze_count() > 0
    assert not any(each is library for each in gc.get_objects())


def test_a_library_that_cannot_be_imported_leaves_the_collector_as_it_was() -> None:
    with pytest.raises(ImportError), loading():
        raise ImportError
    assert gc.isenabled()
    gc.disable()
    try:
        with loading():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
