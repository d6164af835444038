package dev.dormouse.internal

import kotlinx.coroutines.CoroutineDispatcher
import kotlinx.coroutines.asCoroutineDispatcher
import java.util.concurrent.SynchronousQueue
import java.util.concurrent.ThreadPoolExecutor
import java.util.concurrent.TimeUnit

/** Seconds that a thread waits for more to do before it ends. */
private const val IDLE_SECONDS = 5L

/** The name of each of the threads: Linux cuts what is longer than 15 characters. */
private const val THREAD_NAME = "dormouse-wait"

/**
 * Where threads wait for the engine: one for each reply that is being collected, and one for each
 * other call under way that suspends.
 *
 * The threads are Dormouse's own and as many as it takes. On those of a dispatcher with a bound, such
 * as `Dispatchers.IO`, replies would wait for a thread that a caller holds who waits for a reply. And
 * without a dispatcher between, code of a caller who is unconfined would run on an engine's thread,
 * and could wait there for that very thread.
 */
internal val arrivals: CoroutineDispatcher =
    ThreadPoolExecutor(0, Int.MAX_VALUE, IDLE_SECONDS, TimeUnit.SECONDS, SynchronousQueue()) { work ->
        // A program whose main thread is done does not wait for these.
        Thread(work, THREAD_NAME).apply { isDaemon = true }
    }.asCoroutineDispatcher()
