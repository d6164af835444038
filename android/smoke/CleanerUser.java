import java.lang.ref.Cleaner;
import java.nio.ByteBuffer;

/** What the check of the API level must find: a class that came with API 33, and a method of API 34. */
class CleanerUser {
    static final Cleaner CLEANER = Cleaner.create();

    static ByteBuffer flipped(ByteBuffer buffer) {
        return buffer.flip();
    }
}
