package dev.dormouse

import java.io.File

/** Where a model file (GGUF) is. */
public sealed class ModelSource {
    /**
     * A file by its path.
     *
     * @property path the path; one that is not absolute counts from the process's working folder
     */
    public data class Path(public val path: String) : ModelSource()

    /**
     * A window of an open file, as Android's content URIs and stored assets come. The descriptor is
     * duplicated when the source is used: the caller keeps theirs and closes it when they like.
     *
     * @property fd the number of the open file
     * @property offset where the GGUF begins, in bytes
     * @property length how long it is, in bytes
     */
    public data class Descriptor(
        public val fd: Int,
        public val offset: Long,
        public val length: Long,
    ) : ModelSource()

    /** Sources of files as Java has them. */
    public companion object {
        /** The file [file]. */
        @JvmStatic
        public fun file(file: File): ModelSource = Path(file.path)

        /** The file at [path], which must be of the default file system. */
        @JvmStatic
        public fun file(path: java.nio.file.Path): ModelSource = Path(path.toFile().path)
    }
}
