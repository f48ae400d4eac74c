"""What the pages remember: typed keys of the session, and the address that shows the same page again.

Nothing else in the app touches st.session_state or st.query_params. A Slot is remembered in the session alone; a Key in
its page's Address too:

    EPOCH = number_key("epoch")
    ADDRESS = Address("pages/feature_maps.py", (EPOCH, …))

    with ADDRESS.on_show():                       # read when the page is entered, written when it is drawn
        EPOCH.offer(epochs, default=epochs[-1])   # what was chosen, as far as it is possible: the widget below shows it
        st.select_slider("Epoch", epochs, key=EPOCH.widget)

Streamlit forgets a widget's value once a run does not draw the widget; a Key's is kept as long as its page is on show.
"""

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

from cnnviz.app.markdown import plain

T = TypeVar("T")

MOST_DIGITS = 9  # of a number in an address
FAULTS_SHOWN = 4
MOST_SHOWN = 40  # characters of a text that is refused
_UNSET: Any = object()


def reported(key: str) -> Any:
    """What the chart or component with that key reports: Streamlit has it nowhere but in the session."""
    return st.session_state[key]


@dataclass(frozen=True, eq=False)
class Slot(Generic[T]):
    """One value that the session remembers, under a name that may be a widget's key."""

    name: str
    default: T

    def get(self) -> T:
        return st.session_state.get(self.name, self.default)

    def set(self, value: T) -> None:
        st.session_state[self.name] = value

    def pop(self) -> T:
        value = self.get()
        if self.name in st.session_state:
            del st.session_state[self.name]
        return value

    def offer(self, options: Collection[T]) -> T:
        """The remembered value if it is an option, else the default; a widget with this key shows it."""
        value = self.get()
        self.set(value if value in options else self.default)
        return self.get()


@dataclass
class _Visit:
    """What is chosen on the page on show."""

    page: str = ""
    values: dict[str, Any] = field(default_factory=dict)  # by key's name
    defaults: dict[str, Any] = field(default_factory=dict)  # as last offered
    moved: set[str] = field(default_factory=set)  # chosen by the address or by code: the widget does not show it yet
    given: dict[str, str] = field(default_factory=dict)  # texts of the address that no offer() has judged yet
    faults: list[str] = field(default_factory=list)
    settled: dict[str, list[str]] | None = None  # the address once the page was first drawn
    looked: bool = False  # whether what the address asks for has been read
    left: dict[str, Any] = field(default_factory=dict)  # what widgets showed before the browser went back, until drawn


_VISIT: Slot[_Visit | None] = Slot("visit", None)
_CHOSEN: Slot[dict[str, dict[str, Any]]] = Slot("chosen_on_pages", {})  # by page and key: what is not the default


def _visit() -> _Visit:
    visit = _VISIT.get()
    if visit is None:
        _VISIT.set(visit := _Visit())
    return visit


def first_look() -> bool:
    """True once a visit, if its address says something: that may be about what was recorded a moment ago."""
    if get_script_run_ctx(suppress_warning=True) is None:  # a download is made outside of any page
        return False
    visit = _visit()
    first, visit.looked = bool(visit.given) and not visit.looked, True
    return first


@dataclass(frozen=True, eq=False)
class Key(Generic[T]):
    """One choice of a page, in its address and in the session."""

    name: str  # in the address
    default: T  # left out of the address, unless pinned
    parse: Callable[[str], Any] = str  # of a list: one of its texts; raises ValueError("is not …")
    spell: Callable[[Any], str] = str
    key: str = ""  # of its widget, if it is not the name
    pinned: bool = False  # always in the address, for a default that does not stay what it is
    wrong: str = "{name}={text} from the address {why}; it is left out"

    @property
    def widget(self) -> str:
        return self.key or self.name

    def get(self) -> T:
        visit = _visit()
        if self.name not in visit.moved and self.widget in st.session_state:
            return st.session_state[self.widget]
        return visit.values.get(self.name, visit.defaults.get(self.name, self.default))

    def set(self, value: T) -> None:
        """Choose it: at any time, shown by the widget the next time that it is drawn."""
        visit = _visit()
        visit.values[self.name] = value
        visit.moved.add(self.name)
        visit.given.pop(self.name, None)

    def offer(self, options: Collection[Any], default: T = _UNSET, most: int = 0) -> T:
        """What is chosen, as far as the options have it, else the default; to be called before the widget is drawn.

        A value that was the default follows it if it changes, unless the key is pinned.
        """
        visit = _visit()
        default = self.default if default is _UNSET else default
        value = self.get() if self._is_known(visit) else default
        if not self.pinned and value == visit.defaults.get(self.name, _UNSET):
            value = default
        value = self._possible(value, options, default, most)
        visit.defaults[self.name] = default
        self.show(value)
        return value

    def keep(self) -> None:
        """No widget shows it now: Streamlit would bring back the value from before its widget first was."""
        self.set(self.get())

    def show(self, value: T) -> None:
        """Have the widget that is drawn next show this."""
        visit = _visit()
        visit.values[self.name] = value
        if self.widget not in st.session_state or st.session_state[self.widget] != value:
            st.session_state[self.widget] = value  # only then, or it would replace what is being typed meanwhile
        visit.moved.discard(self.name)
        visit.given.pop(self.name, None)

    def refuse(self, why: str) -> None:
        """Drop and report what the address asks for; what was chosen since then is left as it is."""
        visit = _visit()
        if self.name in visit.given:
            asked = visit.given[self.name][:MOST_SHOWN]
            visit.faults.append(self.wrong.format(name=self.name, text=asked, why=why))
            self.set(self.default)

    def read(self, texts: list[str]) -> T:
        """The last of the texts that the address has under this name. Raises ValueError."""
        value: T = self.parse(texts[-1])
        return value

    def write(self, value: T) -> list[str]:
        return [] if value is None else [self.spell(value)]

    def _possible(self, value: T, options: Collection[Any], default: T, most: int) -> T:
        if value in options:
            return value
        if value != default:
            self.refuse("is not possible here")
        return default

    def _is_known(self, visit: _Visit) -> bool:
        return self.name in visit.values or (self.name not in visit.moved and self.widget in st.session_state)


class ListKey(Key[list[str]]):
    """Several of the options. In the address: the name once for each, and once with no text for none of them."""

    def read(self, texts: list[str]) -> list[str]:
        return list(dict.fromkeys(self.parse(text) for text in texts if text))

    def write(self, value: list[str]) -> list[str]:
        return list(value) or [""]

    def _possible(self, value: list[str], options: Collection[Any], default: list[str], most: int) -> list[str]:
        kept = [each for each in value if each in options]
        if unknown := [each for each in value if each not in options]:
            visit = _visit()
            if self.name in visit.given:
                visit.given[self.name] = ", ".join(unknown[:3])
                self.refuse("is not possible here")
                return kept[: most or None] or default
        return kept[: most or None]


def text_key(name: str, default: str = "", **how: Any) -> Key[str]:
    return Key(name, default, **how)


def optional_key(name: str) -> Key[str | None]:
    """A text, or nothing."""
    return Key[str | None](name, None)


def number_key(name: str, default: int = 0, **how: Any) -> Key[int]:
    """A number without a sign."""
    return Key(name, default, whole_number, **how)


def flag_key(name: str, default: bool = False, **how: Any) -> Key[bool]:
    return Key(name, default, _true_or_false, **how)


def list_key(name: str, default: Collection[str] = (), **how: Any) -> ListKey:
    return ListKey(name, list(default), **how)


def whole_number(text: str) -> int:
    """The only parser of numbers from an address.

    >>> whole_number("12")
    12

    Raises ValueError for anything but up to nine of the digits 0 to 9; str.isdigit() would accept "²", int() " +1_0 ".
    """
    if not (text.isascii() and text.isdecimal()):
        raise ValueError("is not a whole number")
    if len(text) > MOST_DIGITS:
        raise ValueError("is too large")
    return int(text)


def _true_or_false(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError("is neither True nor False")
    return text.lower() == "true"


@dataclass(frozen=True)
class Address:
    """A page's address: what it brings back."""

    page: str  # the page's file, as st.switch_page takes it
    keys: tuple[Key[Any], ...] = ()

    @contextmanager
    def on_show(self) -> Iterator[None]:
        """Around all that the page draws. What the address got wrong is reported in one line at its beginning."""
        self.enter()
        place = st.container()
        try:
            yield
        except Exception:
            self.update()
            raise
        visit = _visit()
        texts = self.update()
        self._keep_what_is_not_drawn()
        visit.left.clear()
        visit.settled = visit.settled or texts
        if visit.faults and texts == visit.settled:  # until something is chosen
            more = len(visit.faults) - FAULTS_SHOWN
            place.warning(plain(". ".join(visit.faults[:FAULTS_SHOWN]) + (f". And {more} more" if more > 0 else "")))

    def enter(self) -> None:
        """Take what the address says if the page was not on show, or if the browser went back or forward.

        Else the session knows better: the browser may not have received yet what was written last. An address that
        says nothing, as the menu's, brings back what was last chosen on the page in this session.
        """
        before, went = _visit(), _went()
        shown = {key.name: st.session_state[key.widget] for key in self.keys if key.widget in st.session_state}
        if before.page == self.page and not went:
            # A page that is not drawn to its end is asked for anew with what its widgets showed before it went back.
            before.moved |= {name for name, value in before.left.items() if shown.get(name, _UNSET) == value}
            return
        left = shown if before.page == self.page else {}
        visit = _Visit(self.page, moved={key.name for key in self.keys}, left=left)
        says_nothing = not any(key.name in st.query_params for key in self.keys)
        # Of pages with pinned keys, only an address that has not been completed yet: not one to go back to.
        if says_nothing and (not went or any(key.pinned for key in self.keys)):
            visit.values |= _CHOSEN.get().get(self.page, {})
        for key in self.keys:
            texts = st.query_params.get_all(key.name)
            if not texts or (texts[-1] == "" and not isinstance(key, ListKey)):
                continue
            try:
                visit.values[key.name] = key.read(texts)
                visit.given[key.name] = ", ".join(texts)
            except ValueError as error:
                visit.faults.append(key.wrong.format(name=key.name, text=texts[-1][:MOST_SHOWN], why=error))
        _VISIT.set(visit)

    def _keep_what_is_not_drawn(self) -> None:
        """Of a widget that is not drawn, Streamlit would bring back the value from before it first was."""
        context, visit = get_script_run_ctx(), _visit()
        if context is None or context.fragment_ids_this_run:
            return
        for key in self.keys:
            if key._is_known(visit) and key.widget not in context.shared.widget_user_keys_this_run:
                visit.moved.add(key.name)

    def update(self) -> dict[str, list[str]]:
        """Make the address what is chosen, and return it. What is not on show in this view stays as it was."""
        visit, texts = _visit(), {}
        for key in self.keys:
            if not key._is_known(visit):
                continue
            visit.values[key.name] = value = key.get()
            if key.pinned or value != visit.defaults.get(key.name, key.default):
                texts[key.name] = key.write(value)
        chosen = {name: value for name, value in visit.values.items() if value != visit.defaults.get(name, _UNSET)}
        _CHOSEN.set(_CHOSEN.get() | {self.page: chosen})
        texts = {name: each for name, each in texts.items() if each}
        # What the page that was left wrote last may have reached the browser after it had gone back to this one.
        if _went() or texts != {name: st.query_params.get_all(name) for name in st.query_params}:
            st.query_params.from_dict(texts)
        return texts


def _went() -> bool:
    """Whether this run was asked for by the browser's Back or Forward."""
    context = get_script_run_ctx()
    return context is not None and context.is_history_navigation


def open_page(page: str, **parameters: str | list[str]) -> None:
    """Go to a page with this address, as a link to it would."""
    _VISIT.set(None)
    st.switch_page(page, query_params=parameters)
