package dev.dormouse.internal

import dev.dormouse.DormouseException

/**
 * This text, if it is one: Kotlin's strings can hold half a character, which UTF-8 cannot, and
 * neither can the engine's.
 *
 * It is looked at ahead of the call, as the generated code would fail in the midst of it, with the
 * engine's side of a handle already counted as in use, for ever.
 *
 * @param name what the text is, for the exception; the text itself is never in it
 */
internal fun String.wellFormed(name: String): String {
    var at = 0
    while (at < length) {
        val unit = this[at]
        at +=
            when {
                !unit.isSurrogate() -> 1
                unit.isHighSurrogate() && at + 1 < length && this[at + 1].isLowSurrogate() -> 2
                else -> throw halved(name, at)
            }
    }
    return this
}

private fun halved(name: String, at: Int) =
    DormouseException.InvalidOptions(
        "$name has half a character at index $at, a surrogate without its other half: want whole characters",
    )
