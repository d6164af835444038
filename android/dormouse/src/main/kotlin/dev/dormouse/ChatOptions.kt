package dev.dormouse

/**
 * How a chat is opened.
 *
 * @property system instructions to the model, ahead of the conversation
 * @property contextLength tokens that the context holds; null: as the model was loaded with
 * @property whenFull what happens when the context is full
 * @property reply how replies are made that are not given options of their own
 */
public data class ChatOptions(
    public val system: String? = null,
    public val contextLength: Int? = null,
    public val whenFull: WhenFull = WhenFull.Stop,
    public val reply: ReplyOptions = ReplyOptions(),
)

/** What happens when the context is full. */
public sealed class WhenFull {
    /**
     * The reply ends with [FinishReason.ContextFull]; a prompt that does not fit throws
     * [DormouseException.ContextFull].
     */
    public data object Stop : WhenFull()

    /**
     * The oldest tokens go to make room, those at the front stay.
     *
     * @property keep tokens at the front that always stay; null: those of the system message
     */
    public data class Shift(public val keep: Int? = null) : WhenFull()
}
