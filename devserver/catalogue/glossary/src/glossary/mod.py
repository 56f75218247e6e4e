"""The glossary mod: answers `glossary.*`. What words mean is kept in its own storage and outlasts the run."""

from __future__ import annotations

import json
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from devserver import BaseMod, Event, EventResponse, Refused, mod_event_handler

Word = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100)]
Meaning = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=4000)]


class Define(BaseModel):
    """A word and what it means; an earlier meaning is replaced."""

    model_config = ConfigDict(strict=True)

    word: Word
    meaning: Meaning


class AboutWord(BaseModel):
    """A word; upper and lower case are the same."""

    model_config = ConfigDict(strict=True)

    word: Word


class Find(BaseModel):
    """A text that stands in a word or in what it means; without one all words."""

    model_config = ConfigDict(strict=True)

    text: Annotated[str, StringConstraints(max_length=100)] = ""
    limit: Annotated[int, Field(ge=1, le=1000)] = 100


class GlossaryMod(BaseMod):
    """What the words of a team mean."""

    version = "1.0.0"

    class Config(BaseModel):
        """How many words are kept."""

        model_config = ConfigDict(strict=True, frozen=True)

        max_words: Annotated[int, Field(ge=1, le=100_000)] = 2000

    config: Config

    def initialize(self) -> bool:
        """Read the words that were kept."""
        self._file = self.get_storage_path() / "words.json"
        if "words" not in self.state:
            kept = self._file.read_text(encoding="utf-8") if self._file.exists() else "{}"
            self.state["words"] = json.loads(kept)
        return True

    @mod_event_handler("glossary.define")
    def define(self, event: Event, new: Define) -> EventResponse:
        """Say what a word means."""
        words = self.state["words"]
        key = new.word.casefold()
        if key not in words and len(words) >= self.config.max_words:
            raise Refused(f"the glossary is full: max_words is {self.config.max_words}")
        words[key] = {"word": new.word, "meaning": new.meaning, "by": event.source.id, "at": self.network.time()}
        self._keep()
        return EventResponse(True, f"{new.word} is defined", dict(words[key]))

    @mod_event_handler("glossary.explain")
    def explain(self, event: Event, wanted: AboutWord) -> EventResponse:
        """Get what a word means."""
        found = self._word(wanted.word)
        return EventResponse(True, found["meaning"], dict(found))

    @mod_event_handler("glossary.find")
    def find(self, event: Event, wanted: Find) -> EventResponse:
        """List the words in which a text stands, in the order of the alphabet."""
        text = wanted.text.casefold()
        words = sorted(self.state["words"].items())
        found = [dict(each) for key, each in words if text in key or text in each["meaning"].casefold()]
        shown = found[: wanted.limit]
        return EventResponse(True, f"{len(found)} words", {"words": shown, "total_count": len(found)})

    @mod_event_handler("glossary.forget")
    def forget(self, event: Event, wanted: AboutWord) -> EventResponse:
        """Take a word out."""
        found = self._word(wanted.word)
        del self.state["words"][wanted.word.casefold()]
        self._keep()
        return EventResponse(True, f"{found['word']} is forgotten", dict(found))

    def _word(self, word: str) -> dict[str, Any]:
        found: dict[str, Any] | None = self.state["words"].get(word.casefold())
        if found is None:
            raise Refused(f"the glossary does not know {word!r}", word=word)
        return found

    def _keep(self) -> None:
        """Write all words beside, then give the file its name: a crash leaves the old or the new one."""
        new = self._file.with_suffix(".new")
        new.write_text(json.dumps(self.state["words"], ensure_ascii=False, indent=1), encoding="utf-8")
        new.replace(self._file)
