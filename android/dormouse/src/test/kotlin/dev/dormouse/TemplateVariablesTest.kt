package dev.dormouse

import dev.dormouse.internal.withVariable
import kotlin.test.Test
import kotlin.test.assertEquals

internal class TemplateVariablesTest {
    @Test
    fun `a variable joins an object`() {
        assertEquals("""{"x":true}""", withVariable("", "x", true))
        assertEquals("""{"x":false}""", withVariable(" { \n} ", "x", false))
        assertEquals("""{"a":{},"x":true}""", withVariable("""{"a":{}}""", "x", true))
    }

    @Test
    fun `what is no object stays for the engine to refuse`() {
        for (json in listOf("[1]", "{", "}", "nonsense", "{]")) assertEquals(json, withVariable(json, "x", true))
    }
}
