package app

import dev.dormouse.ChatOptions
import dev.dormouse.Dormouse
import dev.dormouse.DormouseException
import dev.dormouse.Event
import dev.dormouse.LoadOptions
import dev.dormouse.LogLevel
import dev.dormouse.ModelSource
import dev.dormouse.Plan
import kotlinx.coroutines.runBlocking
import java.io.File

/**
 * An app that uses each way across the bridge: calls, suspending calls, callbacks, errors and records.
 * Prints the answer of the scripted model at the path that it is given. A second word is the name that
 * the VM goes by: as `Dalvik`, it finds libraries as on Android.
 */
fun main(args: Array<String>): Unit =
    runBlocking {
        if (args.size > 1) System.setProperty("java.vm.name", args[1])
        Dormouse.setLogger(LogLevel.Trace) { _, _, _ -> }
        val source = ModelSource.Path(args[0])
        check(Dormouse.plan(source) is Plan.Fits)
        try {
            Dormouse.load(ModelSource.Path(args[0] + ".not"))
            error("a missing file was loaded")
        } catch (e: DormouseException.NotFound) {
            check(e.what.endsWith(".not"))
        }
        Dormouse.load(source, LoadOptions(threads = 1)).use { model ->
            check(model.countTokens("tick") > 0)
            model.newChat(ChatOptions(system = "Be brief.")).use { chat ->
                chat.send("hi").collect { event -> if (event is Event.Token) print(event.text) }
                println()
                check(chat.messages.size > 1)
            }
        }
        // Once, whoever opened it: the VM for JNI, and JNA for the calls.
        val maps = File("/proc/self/maps").readLines().filter { it.endsWith("libdormouse_ffi.so") }
        check(maps.count { " 00000000 " in it } == 1) { maps }
    }
