import Foundation
import Testing

@testable import Dormouse

private let hello = "Hello 🐭 from the dormouse: 冬眠!"

extension All {
  @Suite struct ChatTests {
    @Test func anAnswerComesAsEventsWithItsEnd() async throws {
      let chat = try await scripted().newChat()
      let events = try await joined(chat.send("hello"))
      #expect(events.count == 2)
      #expect(events.first == .token(hello))
      let (metrics, finishReason) = try end(of: events)
      #expect(finishReason == .endOfTurn)
      #expect(metrics.promptTokens > 0)
      #expect(metrics.prefillTokens + metrics.reusedTokens == metrics.promptTokens)
      #expect(metrics.generatedTokens > 10)
      #expect(metrics.totalSeconds >= metrics.decodeSeconds)
      #expect(try #require(metrics.timeToFirstToken) > 0)
      #expect(try #require(metrics.decodeRate) > 0)
      #expect(try #require(metrics.prefillRate) > 0)
      #expect(metrics.kvBytes > 0)
    }

    @Test func noTokenHoldsHalfACharacter() async throws {
      var tokens: [String] = []
      for try await event in try await scripted().newChat().send("hello") {
        if case .token(let text) = event { tokens.append(text) }
      }
      #expect(tokens.joined() == hello)
      #expect(!tokens.contains { $0.isEmpty || $0.contains("\u{FFFD}") })
    }

    @Test func aReplyIsTheWholeAnswer() async throws {
      let model = try await scripted()
      let chat = try model.newChat()
      let reply = try await chat.reply("think")
      #expect(reply.text.contains("It is 42."))
      #expect(reply.reasoning == "Hm, let me see.")
      #expect(reply.toolCalls == [])
      #expect(reply.finishReason == .endOfTurn)
      #expect(try chat.messages.last?.reasoning == "Hm, let me see.")
      #expect(chat.model === model)
      let unthinking = try await chat.reply(.user("hello"))
      #expect(unthinking.text == hello)
      #expect(unthinking.reasoning == nil)
      #expect(try chat.messages.map(\.text) == ["think", reply.text, "hello", hello])
    }

    @Test func aToolIsCalledAndAnswered() async throws {
      let chat = try await scripted().newChat(
        options: ChatOptions(reply: ReplyOptions(tools: [weather])))
      let reply = try await chat.reply("weather")
      #expect(reply.finishReason == .toolCalls)
      let call = try #require(reply.toolCalls.first)
      #expect(call.name == "get_weather")
      let arguments = try JSONSerialization.jsonObject(with: Data(call.arguments.utf8))
      #expect(arguments as? [String: String] == ["city": "Graz"])
      #expect(try chat.messages.last?.toolCalls == [call])
      let result = Message.tool(#"{"celsius": 21}"#, callId: call.id, name: call.name)
      let events = try await joined(chat.send([result]))
      #expect(events.first == .token("The tool has spoken."))
      #expect(try chat.messages.map(\.role) == [.user, .assistant, .tool, .assistant])
    }

    @Test func aStopStringEndsTheAnswer() async throws {
      let chat = try await scripted().newChat()
      let reply = try await chat.reply("stop", options: ReplyOptions(stop: ["END"]))
      #expect(reply.text.trimmingCharacters(in: .whitespaces) == "One two")
      #expect(reply.finishReason == .stopString)
    }

    @Test func tokensAreLimited() async throws {
      let chat = try await scripted().newChat()
      let reply = try await chat.reply("forever", options: ReplyOptions(maxTokens: 7))
      #expect(reply.finishReason == .maxTokens)
      #expect(reply.metrics.generatedTokens == 7)
    }

    @Test func theContextEndsTheAnswerOrShifts() async throws {
      let model = try await scripted()
      let stops = try model.newChat(options: ChatOptions(contextLength: 128))
      #expect(stops.contextLength == 128)
      #expect(try await stops.reply("forever").finishReason == .contextFull)
      #expect(try stops.contextUsed > 100)
      let shifts = try model.newChat(
        options: ChatOptions(contextLength: 128, whenFull: .shift(keep: 4)))
      let reply = try await shifts.reply("forever", options: ReplyOptions(maxTokens: 200))
      #expect(reply.finishReason == .maxTokens)
      #expect(reply.metrics.droppedTokens > 0)
    }

    @Test func theSameSeedGivesTheSameText() async throws {
      let model = try await Dormouse.load(try tinyModel("tiny.gguf"))
      let seeded = ReplyOptions(sampler: SamplerOptions(temperature: 1.5, seed: 7), maxTokens: 30)
      let first = try await model.newChat().reply("a", options: seeded)
      #expect(first.seed == 7)
      #expect(try await model.newChat().reply("a", options: seeded).text == first.text)
      var other = seeded
      other.sampler.seed = nil
      let free = try await model.newChat().reply("a", options: other)
      other.sampler.seed = free.seed
      #expect(try await model.newChat().reply("a", options: other).text == free.text)
      #expect(free.text != first.text)
    }

    @Test func optionsReachTheSampler() async throws {
      let model = try await Dormouse.load(try tinyModel("tiny.gguf"))
      let token = 65
      let bias = SamplerOptions(temperature: 0, logitBias: [token: 1000])
      let options = ReplyOptions(sampler: bias, maxTokens: 3)
      var text = ""
      for try await event in model.complete("a", options: options) {
        if case .token(let more) = event { text += more }
      }
      let thrice = try model.detokenize([token, token, token])
      #expect(text == thrice)
    }

    /// The template tells what arrives by what it raises: its own words, as others are not shown.
    @Test(
      arguments: [
        (#" {"extra": 5} "#, true, "thinks about five"),
        (#"{ "enable_thinking": true, "extra": 5}"#, false, "answers about five"),
        (#"{"enable_thinking": false}"#, true, "thinks about nothing"),
        (#"{"extra": 5, "enable_thinking": true}"#, nil, "thinks about five"),
        (#"{"extra": {"}": "}"}}"#, false, "answers about nothing"),
        ("\r\n{ }\r\n", true, "thinks about nothing"),
        ("", false, "answers about nothing"),
        ("", nil, "was not told"),
      ] as [(String, Bool?, String)])
    func thinkingAndVariablesReachTheTemplate(
      _ variables: String, _ thinking: Bool?, _ says: String
    ) async throws {
      let model = try await scripted(
        LoadOptions(
          chatTemplate: """
            {% if enable_thinking is not defined %}{{ raise_exception('was not told') }}
            {% elif enable_thinking and extra == 5 %}{{ raise_exception('thinks about five') }}
            {% elif enable_thinking %}{{ raise_exception('thinks about nothing') }}
            {% elif extra == 5 %}{{ raise_exception('answers about five') }}
            {% else %}{{ raise_exception('answers about nothing') }}{% endif %}
            """))
      let error = try await failure {
        try await model.newChat().reply(
          "a", options: ReplyOptions(templateVariables: variables, thinking: thinking))
      }
      guard case .template(let why) = error else {
        Issue.record("\(error)")
        return
      }
      #expect(why.contains(says))
    }

    @Test(arguments: ["[]", "{", "5", #"{"a": "}"#, #"{"a": 1,}"#, #"{"a": {}"#, "{} {}"])
    func variablesThatAreNoObjectAreRefused(_ variables: String) async throws {
      let chat = try await scripted().newChat()
      for thinking in [nil, true, false] as [Bool?] {
        let error = try await failure {
          try await chat.reply(
            "a", options: ReplyOptions(templateVariables: variables, thinking: thinking))
        }
        guard case .invalidOptions = error else {
          Issue.record("\(error) for \(variables)")
          continue
        }
      }
    }

    @Test func anAnswerIsMadeAnewAndAQuestionEdited() async throws {
      let chat = try await scripted().newChat(system: "Be brief.")
      _ = try await chat.reply("stop")
      _ = try await chat.reply("hello")
      #expect(try chat.messages.count == 5)
      let again = try await joined(chat.regenerate())
      #expect(again.first == .token(hello))
      #expect(try chat.messages.count == 5)
      _ = try await joined(chat.edit(1, text: "think"))
      #expect(try chat.messages.map(\.role) == [.system, .user, .assistant])
      #expect(try chat.messages[1] == .user("think"))
      _ = try await joined(chat.edit(1, message: .user("hello")))
      #expect(try chat.messages[2].text == hello)
    }

    @Test func theHistoryIsTheCallers() async throws {
      let chat = try await scripted().newChat()
      #expect(try chat.messages == [])
      try chat.setSystem("Be brief.")
      try chat.setMessages([
        .system("Be kind."), .user("a"),
        Message(
          role: .assistant, content: [.text("b"), .text("c")], reasoning: "hm",
          toolCalls: [ToolCall(id: "1", name: "f", arguments: #"{"x":1}"#)]),
        .tool("d", callId: "1", name: "f"),
      ])
      let messages = try chat.messages
      #expect(messages.map(\.text) == ["Be kind.", "a", "bc", "d"])
      #expect(messages[2].toolCalls.first?.arguments == #"{"x":1}"#)
      #expect(messages[2].reasoning == "hm")
      #expect(messages[3].toolCallId == "1")
      #expect(messages[3].name == "f")
      try chat.setMessages(messages)
      #expect(try chat.messages == messages)
      try chat.reset()
      #expect(try chat.messages == [.system("Be kind.")])
      try chat.setSystem(nil)
      #expect(try chat.messages == [])
      _ = try await joined(chat.send(.user("hello")))
      #expect(try chat.messages.map(\.text) == ["hello", hello])
    }

    @Test func aHistoryIsSavedAndRestored() async throws {
      let model = try await scripted()
      try await withFolder { folder in
        let file = folder.appendingPathComponent("chat.json")
        let chat = try model.newChat(system: "Be brief.")
        _ = try await chat.reply("hello")
        try await chat.save(to: file.path)
        let other = try model.newChat()
        try await other.restore(from: file)
        #expect(try other.messages == chat.messages)
        try other.reset()
        try await other.save(to: file)
        try await chat.restore(from: file.path)
        #expect(try chat.messages == [.system("Be brief.")])
        let page = try #require(URL(string: "https://example.org/chat.json"))
        for error in [
          try await failure({ try await chat.save(to: page) }),
          try await failure({ try await chat.restore(from: page) }),
        ] {
          guard case .invalidOptions = error else {
            Issue.record("\(error)")
            continue
          }
        }
        #expect(try await other.reply("think").text.contains("42"))
      }
    }

    @Test func severalChatsKeepToThemselves() async throws {
      let model = try await scripted()
      let chats = try ["hello", "think", "stop"].map { (word: $0, chat: try model.newChat()) }
      try await withThrowingTaskGroup(of: Void.self) { group in
        for (word, chat) in chats {
          group.addTask {
            for _ in 0..<3 { _ = try await chat.reply(word) }
          }
        }
        try await group.waitForAll()
      }
      for (word, chat) in chats {
        #expect(try chat.messages.filter { $0.role == .user }.map(\.text) == [word, word, word])
        #expect(Set(try chat.messages.filter { $0.role == .assistant }).count == 1)
      }
    }

    @Test func aTextIsGoneOnFrom() async throws {
      let model = try await scripted()
      let events = try await joined(
        model.complete("<|forever|>", options: ReplyOptions(maxTokens: 20)))
      guard case .token(let text) = events.first else {
        Issue.record("no text")
        return
      }
      #expect(text.hasPrefix("tick tock, and so on tick"))
      #expect(try end(of: events).finishReason == .maxTokens)
    }

    @Test func textsAreTokenizedAndBack() async throws {
      let model = try await scripted()
      let text = "tick tock 冬"
      let tokens = try await model.tokenize(text)
      #expect(tokens.count > 3)
      #expect(try model.detokenize(tokens) == text)
      #expect(try await model.countTokens(text) == tokens.count)
      #expect(try await model.tokenize("") == [])
      let marker = "<|im_start|>"
      let plain = try await model.tokenize(marker)
      let special = try await model.tokenize(marker, special: true)
      #expect(special.count <= plain.count)
    }

    @Test func closingIsForGood() async throws {
      let model = try await scripted()
      let chat = try model.newChat()
      let other = try model.newChat()
      chat.close()
      chat.close()
      #expect(chat.isClosed)
      #expect(!other.isClosed)
      model.close()
      model.close()
      #expect(model.isClosed)
      #expect(other.isClosed)
      #expect(model.info.architecture == "llama")
    }

    @Test func aChatKeepsItsModelAndAStreamItsChat() async throws {
      let stream = try await scripted().newChat().send("hello")
      #expect(try await joined(stream).first == .token(hello))
      let completion = try await scripted().complete(
        "<|forever|>", options: ReplyOptions(maxTokens: 5))
      #expect(try end(of: try await joined(completion)).finishReason == .maxTokens)
    }

    @Test func theOtherNamesAreTheSameTypes() {
      let message: DormouseMessage = .user("a")
      #expect(message == Message.user("a"))
    }
  }
}
