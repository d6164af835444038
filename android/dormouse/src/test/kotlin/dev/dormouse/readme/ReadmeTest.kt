package dev.dormouse.readme

import dev.dormouse.tinyModels
import kotlinx.coroutines.runBlocking
import org.junit.jupiter.api.Test
import java.io.ByteArrayOutputStream
import java.io.File
import java.io.PrintStream
import kotlin.test.assertContains

class ReadmeTest {
    @Test
    fun `the example of the front page runs`() {
        val out = ByteArrayOutputStream()
        val before = System.out
        System.setOut(PrintStream(out, true, "UTF-8"))
        try {
            runBlocking { ask(File(tinyModels, "scripted.gguf"), "hi") }
        } finally {
            System.setOut(before)
        }
        val said = out.toString("UTF-8")
        assertContains(said, "Hello 🐭 from the dormouse: 冬眠!")
        assertContains(said, "tokens/s")
    }
}
