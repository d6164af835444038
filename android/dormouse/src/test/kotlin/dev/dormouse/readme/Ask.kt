package dev.dormouse.readme

import dev.dormouse.Dormouse
import dev.dormouse.Event
import dev.dormouse.ModelSource
import java.io.File

suspend fun ask(file: File, question: String) =
    Dormouse.load(ModelSource.file(file)).use { model ->
        model.newChat(system = "You are a helpful dormouse.").send(question).collect { event ->
            when (event) {
                is Event.Token -> print(event.text)
                is Event.Done -> println("\n${event.metrics.decodeRate} tokens/s")
                else -> {}
            }
        }
    }
