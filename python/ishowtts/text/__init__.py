"""What will be said: numbers, dates, units, currency, addresses, emoji and chat slang as words, with their places in
the original text. For models that read letters; each engine decides whether it wants this.

wetext reads Chinese and English, num2words the other languages; both are imported with the first text that needs them.
"""

from ishowtts.text.normaliser import VERSION, languages, normalise, say

__all__ = ["VERSION", "languages", "normalise", "say"]
