package dev.dormouse.abi

import org.jetbrains.kotlin.abi.tools.AbiFilters
import org.jetbrains.kotlin.abi.tools.AbiToolsFactory
import java.io.File
import java.util.ServiceLoader
import kotlin.test.Test
import kotlin.test.assertEquals
import kotlin.test.assertTrue
import kotlin.test.fail

/** The public API changes on purpose only. */
internal class ApiTest {
    private fun folder(property: String): File = File(System.getProperty(property) ?: fail("$property is not set"))

    private fun api(classes: File): String {
        val files = classes.walk().filter { it.extension == "class" }.sorted().toList()
        assertTrue(files.isNotEmpty(), "no classes in $classes")
        val tools = ServiceLoader.load(AbiToolsFactory::class.java).first().get()
        val none = emptySet<String>()
        return buildString { tools.printJvmDump(this, files, AbiFilters(none, none, none, none)) }
    }

    private fun compare(
        classes: String,
        committed: String,
    ) {
        val found = api(folder(classes))
        val file = File(folder("dormouse.api"), committed)
        if (System.getProperty("dormouse.api.write") == "true") file.writeText(found)
        assertEquals(file.readText(), found, "run with -Ddormouse.api.write=true and commit $file, if the change is meant")
    }

    @Test
    fun `the API is the committed one`() = compare("dormouse.classes", "dormouse.api")

    @Test
    fun `what Android adds to the API is the committed one`() = compare("dormouse.androidClasses", "dormouse-android.api")

    @Test
    fun `nothing generated is visible`() {
        assertEquals("", api(folder("dormouse.generatedClasses")).trim())
    }
}
