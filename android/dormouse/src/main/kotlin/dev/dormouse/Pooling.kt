package dev.dormouse

/** How the hidden states of a text's tokens become one vector; see [Model.embed]. */
public enum class Pooling {
    /** Their mean. */
    Mean,

    /** That of the first token. */
    First,

    /** That of the last token. */
    Last,
}
