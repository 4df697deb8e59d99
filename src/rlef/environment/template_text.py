"""A chat template as text: what is to be seen in it without a tokenizer."""

import re
from collections.abc import Mapping
from datetime import date
from typing import Any

from jinja2 import Environment, TemplateSyntaxError, nodes
from jinja2.ext import Extension
from jinja2.parser import Parser

from rlef.environment.chat_settings import TEMPLATE_DATE
from rlef.environment.template_probes import TemplateError

_DATE_CODES = ("-d", "-m", "-e", "-j", *"aAbBdejmyYDFxcuwUWVGHIMSpTX")
"""Of ``strftime``."""
_OWN_ARGUMENTS = {
    *("messages", "conversation", "chat_template", "add_generation_prompt", "tokenize"),
    *("continue_final_message", "return_dict", "return_tensors", "return_assistant_tokens_mask"),
    *("padding", "truncation", "max_length", "tokenizer_kwargs"),
}
"""What ``apply_chat_template`` is told by rlef, or tells the tokenizer and not the template."""


class _Generation(Extension):
    """The block by which templates mark answers, in ``transformers`` too."""

    tags = {"generation"}  # noqa: RUF012

    def parse(self, parser: Parser) -> list[nodes.Node]:
        """Takes what is in the block for itself."""
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def check_syntax(template: str) -> None:
    """Raises TemplateError for what is no template in Jinja as ``transformers`` reads it."""
    try:
        Environment(extensions=[_Generation, "jinja2.ext.loopcontrols"]).compile(template)
    except (TemplateSyntaxError, RecursionError) as error:
        raise TemplateError(failure(error)) from None


def failure(error: Exception) -> str:
    """Returns what a template raised in one line."""
    line = " ".join(str(error).split())[:200].rstrip(".") or type(error).__name__
    where = f"line {error.lineno}: " if isinstance(error, TemplateSyntaxError) else ""
    return f"the chat template failed: {where}{line}"


def template_words(template: str, arguments: Mapping[str, Any], today: date) -> dict[str, Any]:
    """Returns what ``apply_chat_template`` is told beside the messages.

    Args:
        template: Its text; empty where there is none.
        arguments: What the user tells it.
        today: What it is told where it asks for the date.

    Raises:
        TemplateError: It reads no such argument, or no date, and one is given.
    """
    for name in arguments:
        if name in _OWN_ARGUMENTS or not re.search(rf"\b{re.escape(name)}\b", template):
            raise TemplateError(
                f"the chat template reads no argument {name!r} (model.template_arguments; rlef "
                "eval: --template-arg)",
                "those that it reads, such as enable_thinking in many",
            )
    words = dict(arguments)
    if "strftime_now" in template:
        words["chat_template"] = _date_macro(today) + template
    elif today != TEMPLATE_DATE:
        raise TemplateError(
            "the chat template does not ask for the date (model.today; rlef eval: --today)",
            "to leave it out, or the argument of the template that stands for it, if it has one",
        )
    return words


def _date_macro(today: date) -> str:
    """Returns the beginning of a template in which ``strftime_now`` tells of a fixed day.

    transformers lets no function through to a template, so it is a macro: it replaces each code.
    """
    codes = [f"%{code}" for code in _DATE_CODES]
    told = "".join(f"|replace({code!r},{today.strftime(code)!r})" for code in codes)
    return "{%- macro strftime_now(format) -%}{{- format" + told + " -}}{%- endmacro +%}"
