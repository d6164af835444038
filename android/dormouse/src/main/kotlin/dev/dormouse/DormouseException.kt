package dev.dormouse

/**
 * Why a call failed: one class for each thing that a caller acts on, with the fields to act on.
 *
 * No text of a prompt, an answer or a message is ever in it. A cancelled coroutine throws its
 * `CancellationException` as everywhere in Kotlin, and none of these.
 */
public sealed class DormouseException(message: String) : Exception(message) {
    /**
     * There is no such file.
     *
     * @property what what was looked for
     */
    public class NotFound internal constructor(public val what: String) : DormouseException("not found: $what")

    /**
     * Reading or writing failed.
     *
     * @property what what was being done, and the system's answer
     * @property code the system's error number (`errno`), where there is one
     */
    public class Io internal constructor(public val what: String, public val code: Int?) : DormouseException(what)

    /**
     * The file is damaged or not a GGUF file.
     *
     * @property place the part of the file: a key, a tensor, the header
     * @property why what is wrong there
     */
    public class CorruptModel internal constructor(public val place: String, public val why: String) :
        DormouseException("corrupt model: $place: $why")

    /**
     * The file is sound, but asks for something that the engine does not have.
     *
     * @property what the architecture, type or feature that is missing, and those that exist
     */
    public class UnsupportedModel internal constructor(public val what: String) :
        DormouseException("unsupported model: $what")

    /**
     * The model has no chat template, or its template failed or refused the conversation.
     *
     * @property why what went wrong, and the fix where one is known
     */
    public class Template internal constructor(public val why: String) : DormouseException("chat template: $why")

    /**
     * More memory is needed than the budget or the machine gives.
     *
     * @property needed bytes that the request needs
     * @property budget bytes that are allowed
     */
    public class OutOfMemory internal constructor(public val needed: Long, public val budget: Long) :
        DormouseException("out of memory: $needed bytes needed, $budget allowed")

    /**
     * The prompt does not fit the context.
     *
     * @property used tokens that the request needs
     * @property max tokens that the context holds
     */
    public class ContextFull internal constructor(public val used: Long, public val max: Long) :
        DormouseException("context full: $used of $max tokens")

    /**
     * An option or argument cannot be used.
     *
     * @property what what was passed and what is wanted
     */
    public class InvalidOptions internal constructor(public val what: String) :
        DormouseException("invalid options: $what")

    /** The chat is answering already: cancel the answer or wait for its end. */
    public class Busy internal constructor() :
        DormouseException("busy: the chat is answering; cancel the answer or wait for its end")

    /**
     * The engine was told to end the work, and not by the coroutine that waits for it. A reply never
     * throws this: it ends with [Event.Done] and [FinishReason.Cancelled].
     */
    public class Cancelled internal constructor() : DormouseException("cancelled")

    /** The model or chat is closed. */
    public class Closed internal constructor() : DormouseException("closed")

    /**
     * A defect of Dormouse itself. The app can go on; a chat that this came from is to be closed.
     *
     * @property place the source file and line, where they are known
     * @property what what was found broken
     */
    public class Internal internal constructor(public val place: String, public val what: String) :
        DormouseException("internal error at $place: $what")
}
