package dev.dormouse.internal

import dev.dormouse.ChatOptions
import dev.dormouse.DormouseException
import dev.dormouse.EnergyPolicy
import dev.dormouse.Event
import dev.dormouse.FileAccess
import dev.dormouse.FinishReason
import dev.dormouse.Limits
import dev.dormouse.LoadOptions
import dev.dormouse.LogLevel
import dev.dormouse.MemoryNeeds
import dev.dormouse.Message
import dev.dormouse.Metrics
import dev.dormouse.ModelInfo
import dev.dormouse.ModelSource
import dev.dormouse.Part
import dev.dormouse.Plan
import dev.dormouse.Pooling
import dev.dormouse.ReplyOptions
import dev.dormouse.Role
import dev.dormouse.SamplerOptions
import dev.dormouse.ThrottleReason
import dev.dormouse.Tool
import dev.dormouse.ToolCall
import dev.dormouse.WhenFull
import kotlin.time.Duration.Companion.seconds
import dev.dormouse.ffi.ChatSettings as FfiChatSettings
import dev.dormouse.ffi.EnergyPolicy as FfiEnergyPolicy
import dev.dormouse.ffi.Event as FfiEvent
import dev.dormouse.ffi.Failure as FfiFailure
import dev.dormouse.ffi.FileAccess as FfiFileAccess
import dev.dormouse.ffi.FinishReason as FfiFinishReason
import dev.dormouse.ffi.Limits as FfiLimits
import dev.dormouse.ffi.LoadSettings as FfiLoadSettings
import dev.dormouse.ffi.LogLevel as FfiLogLevel
import dev.dormouse.ffi.MemoryNeeds as FfiMemoryNeeds
import dev.dormouse.ffi.Message as FfiMessage
import dev.dormouse.ffi.Metrics as FfiMetrics
import dev.dormouse.ffi.ModelInfo as FfiModelInfo
import dev.dormouse.ffi.ModelSource as FfiModelSource
import dev.dormouse.ffi.Part as FfiPart
import dev.dormouse.ffi.Plan as FfiPlan
import dev.dormouse.ffi.Pooling as FfiPooling
import dev.dormouse.ffi.ReplySettings as FfiReplySettings
import dev.dormouse.ffi.Role as FfiRole
import dev.dormouse.ffi.SamplerSettings as FfiSamplerSettings
import dev.dormouse.ffi.ThrottleReason as FfiThrottleReason
import dev.dormouse.ffi.Tool as FfiTool
import dev.dormouse.ffi.ToolCall as FfiToolCall
import dev.dormouse.ffi.WhenFull as FfiWhenFull

// The engine counts without signs, Kotlin's users do not. Numbers that have no unsigned form are
// refused here; whether the engine can use the others is the engine's to say.

internal fun natural(name: String, value: Int): UInt =
    if (value >= 0) value.toUInt() else throw DormouseException.InvalidOptions("$name is $value, want at least 0")

private fun natural(name: String, value: Long): ULong =
    if (value >= 0) value.toULong() else throw DormouseException.InvalidOptions("$name is $value, want at least 0")

internal fun UInt.toApi(): Int = coerceAtMost(Int.MAX_VALUE.toUInt()).toInt()

private fun ULong.toApi(): Long = coerceAtMost(Long.MAX_VALUE.toULong()).toLong()

internal fun ModelSource.toFfi(): FfiModelSource =
    when (this) {
        is ModelSource.Path -> FfiModelSource.Path(path.wellFormed("the path"))
        is ModelSource.Descriptor ->
            FfiModelSource.Descriptor(fd, natural("the offset", offset), natural("the length", length))
    }

internal fun LoadOptions.toFfi(): FfiLoadSettings =
    FfiLoadSettings(
        memoryBudget = memory?.bytes?.toULong(),
        contextLength = contextLength?.let { natural("the context length", it) },
        threads = threads?.let { natural("the number of threads", it) },
        energy =
            when (energy) {
                EnergyPolicy.Performance -> FfiEnergyPolicy.PERFORMANCE
                EnergyPolicy.Balanced -> FfiEnergyPolicy.BALANCED
                EnergyPolicy.Saver -> FfiEnergyPolicy.SAVER
            },
        chatTemplate = chatTemplate?.wellFormed("the chat template"),
        fileAccess =
            when (fileAccess) {
                FileAccess.Auto -> FfiFileAccess.AUTO
                FileAccess.Map -> FfiFileAccess.MAP
                FileAccess.ReadIn -> FfiFileAccess.READ_IN
            },
    )

internal fun Pooling.toFfi(): FfiPooling =
    when (this) {
        Pooling.Mean -> FfiPooling.MEAN
        Pooling.First -> FfiPooling.FIRST
        Pooling.Last -> FfiPooling.LAST
    }

internal fun ChatOptions.toFfi(): FfiChatSettings =
    FfiChatSettings(
        system = system?.wellFormed("the system message"),
        contextLength = contextLength?.let { natural("the context length", it) },
        whenFull =
            when (val policy = whenFull) {
                WhenFull.Stop -> FfiWhenFull.Stop
                is WhenFull.Shift -> FfiWhenFull.Shift(policy.keep?.let { natural("the number of tokens to keep", it) })
            },
    )

internal fun ReplyOptions.toFfi(): FfiReplySettings =
    FfiReplySettings(
        sampler = sampler.toFfi(),
        maxTokens = maxTokens?.let { natural("the most tokens of a reply", it) },
        stop = stop.map { it.wellFormed("a stop text") },
        tools = tools.map { it.toFfi() },
        templateVariables = variables().wellFormed("the template's variables"),
    )

private fun ReplyOptions.variables(): String =
    thinking?.let { withVariable(templateVariables, "enable_thinking", it) } ?: templateVariables

/** The JSON object [json] with one more member at its end, where it counts most. */
internal fun withVariable(json: String, name: String, value: Boolean): String {
    val member = "\"$name\":$value"
    val text = json.trim()
    return when {
        text.isEmpty() -> "{$member}"
        // Not an object: the engine says so.
        !text.startsWith('{') || !text.endsWith('}') || text.length < 2 -> json
        text.substring(1, text.length - 1).isBlank() -> "{$member}"
        else -> "${text.dropLast(1)},$member}"
    }
}

private fun SamplerOptions.toFfi(): FfiSamplerSettings =
    FfiSamplerSettings(
        temperature = temperature,
        topK = natural("top-k", topK),
        topP = topP,
        minP = minP,
        repetitionPenalty = repetitionPenalty,
        presencePenalty = presencePenalty,
        frequencyPenalty = frequencyPenalty,
        penaltyLastN = natural("the number of tokens that penalties look at", penaltyLastN),
        logitBias = logitBias.mapKeys { (token, _) -> natural("a token with a bias", token) },
        seed = seed?.toULong(),
    )

private fun Tool.toFfi(): FfiTool =
    FfiTool(
        name = name.wellFormed("a tool's name"),
        description = description.wellFormed("a tool's description"),
        parameters = parameters.wellFormed("a tool's parameters"),
    )

private fun ToolCall.toFfi(): FfiToolCall =
    FfiToolCall(
        id = id?.wellFormed("a tool call's id"),
        name = name.wellFormed("a tool call's name"),
        arguments = arguments.wellFormed("a tool call's arguments"),
    )

private fun FfiToolCall.toApi(): ToolCall = ToolCall(name, arguments, id)

internal fun Message.toFfi(): FfiMessage =
    FfiMessage(
        role =
            when (role) {
                Role.System -> FfiRole.SYSTEM
                Role.User -> FfiRole.USER
                Role.Assistant -> FfiRole.ASSISTANT
                Role.Tool -> FfiRole.TOOL
            },
        content =
            content.map { part ->
                when (part) {
                    is Part.Text -> FfiPart.Text(part.text.wellFormed("the message"))
                }
            },
        reasoning = reasoning?.wellFormed("the message's reasoning"),
        toolCalls = toolCalls.map { it.toFfi() },
        toolCallId = toolCallId?.wellFormed("a tool call's id"),
        name = name?.wellFormed("a tool's name"),
    )

internal fun FfiMessage.toApi(): Message =
    Message(
        role =
            when (role) {
                FfiRole.SYSTEM -> Role.System
                FfiRole.USER -> Role.User
                FfiRole.ASSISTANT -> Role.Assistant
                FfiRole.TOOL -> Role.Tool
            },
        content =
            content.map { part ->
                when (part) {
                    is FfiPart.Text -> Part.Text(part.text)
                }
            },
        reasoning = reasoning,
        toolCalls = toolCalls.map { it.toApi() },
        toolCallId = toolCallId,
        name = name,
    )

internal fun FfiPlan.toApi(): Plan =
    when (this) {
        is FfiPlan.Fits -> Plan.Fits(needs.toApi(), tight)
        is FfiPlan.Pages -> Plan.Pages(needs.toApi(), least.toApi(), tokensPerSecond)
        is FfiPlan.Refused -> Plan.Refused(needs.toApi(), allowed.toApi(), reason)
    }

private fun FfiMemoryNeeds.toApi(): MemoryNeeds =
    MemoryNeeds(weights.toApi(), kvCache.toApi(), buffers.toApi(), total.toApi(), contextLength.toApi())

internal fun FfiModelInfo.toApi(): ModelInfo =
    ModelInfo(
        name = name,
        architecture = architecture,
        quantization = quantization,
        parameters = parameters.toApi(),
        fileBytes = fileBytes.toApi(),
        trainedContextLength = trainedContextLength.toApi(),
        contextLength = contextLength.toApi(),
        vocabularySize = vocabularySize.toApi(),
        layers = layers.toApi(),
        embeddingLength = embeddingLength.toApi(),
        hasChatTemplate = hasChatTemplate,
        takesTools = takesTools,
        reasons = reasons,
        notInForce = notInForce,
    )

internal fun FfiEvent.toApi(): Event =
    when (this) {
        is FfiEvent.Token -> Event.Token(text)
        is FfiEvent.Reasoning -> Event.Reasoning(text)
        is FfiEvent.ToolCall -> Event.ToolCall(call.toApi())
        is FfiEvent.Throttled -> Event.Throttled(reason.toApi(), limits.toApi())
        is FfiEvent.Done -> Event.Done(metrics.toApi(), finishReason.toApi(), seed.toLong())
    }

private fun FfiThrottleReason.toApi(): ThrottleReason =
    when (this) {
        FfiThrottleReason.HEAT -> ThrottleReason.Heat
        FfiThrottleReason.BATTERY -> ThrottleReason.Battery
        FfiThrottleReason.LOW_POWER -> ThrottleReason.LowPower
        FfiThrottleReason.MEMORY -> ThrottleReason.Memory
        FfiThrottleReason.BACKGROUND -> ThrottleReason.Background
        FfiThrottleReason.RECOVERED -> ThrottleReason.Recovered
    }

private fun FfiLimits.toApi(): Limits = Limits(threads?.toApi(), dutyCycle, tokensPerSecond, paused)

private fun FfiFinishReason.toApi(): FinishReason =
    when (this) {
        FfiFinishReason.END_OF_TURN -> FinishReason.EndOfTurn
        FfiFinishReason.TOOL_CALLS -> FinishReason.ToolCalls
        FfiFinishReason.STOP_STRING -> FinishReason.StopString
        FfiFinishReason.MAX_TOKENS -> FinishReason.MaxTokens
        FfiFinishReason.CONTEXT_FULL -> FinishReason.ContextFull
        FfiFinishReason.CANCELLED -> FinishReason.Cancelled
    }

private fun FfiMetrics.toApi(): Metrics =
    Metrics(
        timeToFirstToken = timeToFirstToken?.seconds,
        promptTokens = promptTokens.toApi(),
        reusedTokens = reusedTokens.toApi(),
        prefillTokens = prefillTokens.toApi(),
        prefillSeconds = prefillSeconds,
        prefillRate = prefillRate,
        generatedTokens = generatedTokens.toApi(),
        decodeSeconds = decodeSeconds,
        decodeRate = decodeRate,
        totalSeconds = totalSeconds,
        stalledSeconds = stalledSeconds,
        droppedTokens = droppedTokens.toApi(),
        tokensAfterCancel = tokensAfterCancel.toApi(),
        kvBytes = kvBytes.toApi(),
        peakMemory = peakMemory?.toApi(),
    )

internal fun LogLevel.toFfi(): FfiLogLevel =
    when (this) {
        LogLevel.Error -> FfiLogLevel.ERROR
        LogLevel.Warn -> FfiLogLevel.WARN
        LogLevel.Info -> FfiLogLevel.INFO
        LogLevel.Debug -> FfiLogLevel.DEBUG
        LogLevel.Trace -> FfiLogLevel.TRACE
    }

internal fun FfiLogLevel.toApi(): LogLevel =
    when (this) {
        FfiLogLevel.ERROR -> LogLevel.Error
        FfiLogLevel.WARN -> LogLevel.Warn
        FfiLogLevel.INFO -> LogLevel.Info
        FfiLogLevel.DEBUG -> LogLevel.Debug
        FfiLogLevel.TRACE -> LogLevel.Trace
    }

internal fun FfiFailure.toApi(): DormouseException =
    when (this) {
        is FfiFailure.NotFound -> DormouseException.NotFound(what)
        is FfiFailure.Io -> DormouseException.Io(what, code)
        is FfiFailure.CorruptModel -> DormouseException.CorruptModel(place, why)
        is FfiFailure.UnsupportedModel -> DormouseException.UnsupportedModel(what)
        is FfiFailure.Template -> DormouseException.Template(why)
        is FfiFailure.OutOfMemory -> DormouseException.OutOfMemory(needed.toApi(), budget.toApi())
        is FfiFailure.ContextFull -> DormouseException.ContextFull(used.toApi(), max.toApi())
        is FfiFailure.InvalidOptions -> DormouseException.InvalidOptions(what)
        is FfiFailure.Busy -> DormouseException.Busy()
        is FfiFailure.Cancelled -> DormouseException.Cancelled()
        is FfiFailure.Closed -> DormouseException.Closed()
        is FfiFailure.Internal -> DormouseException.Internal(place, what)
    }
