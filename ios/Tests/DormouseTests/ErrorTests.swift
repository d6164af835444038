import Foundation
import Testing

@testable import Dormouse

extension All {
  /// Each kind of error, raised for real.
  @Suite struct ErrorTests {
    @Test func notFound() async throws {
      let error = try await failure { try await Dormouse.load(.path("/no/such/model.gguf")) }
      guard case .notFound(let what) = error else {
        Issue.record("\(error)")
        return
      }
      #expect(what.contains("/no/such/model.gguf"))
      #expect(error.localizedDescription.hasPrefix("not found: "))
    }

    @Test func io() async throws {
      let closed = try await failure {
        try await Dormouse.load(.descriptor(fd: 9999, offset: 0, length: 100))
      }
      guard case .io(let what, EBADF) = closed else {
        Issue.record("\(closed)")
        return
      }
      #expect(what.contains("9999"))
    }

    /// Only Linux has a device that is always full.
    @Test(.enabled(if: FileManager.default.fileExists(atPath: "/dev/full")))
    func aFullDiskLeavesTheFileAndTheChat() async throws {
      let chat = try await scripted().newChat()
      try await withFolder { folder in
        let url = folder.appendingPathComponent("chat.json")
        _ = try await chat.reply("think of the user's words")
        try await chat.save(to: url.path)
        let saved = try Data(contentsOf: url)
        _ = try await chat.reply("hello")
        let error = try await failure { try await chat.save(to: "/dev/full") }
        guard case .io(let what, ENOSPC) = error else {
          Issue.record("\(error)")
          return
        }
        #expect(what.contains("/dev/full"))
        #expect(!error.description.contains("user's"))
        #expect(try Data(contentsOf: url) == saved)
        #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path) == ["chat.json"])

        #expect(try await chat.reply("hello").finishReason == .endOfTurn)
        try await chat.save(to: url.path)
        let messages = try chat.messages
        #expect(messages.count == 6)
        try chat.reset()
        try await chat.restore(from: url.path)
        #expect(try chat.messages == messages)
      }
    }

    @Test func aPathThatCannotBeSavedTo() async throws {
      let chat = try await scripted().newChat()
      _ = try await chat.reply("hello")
      try await withFolder { folder in
        let missing = folder.appendingPathComponent("missing/chat.json").path
        guard case .notFound(let what) = try await failure({ try await chat.save(to: missing) })
        else {
          Issue.record("not the error for a folder that is not there")
          return
        }
        #expect(what.contains(missing))
        let inTheWay = folder.appendingPathComponent("folder")
        try FileManager.default.createDirectory(at: inTheWay, withIntermediateDirectories: false)
        guard case .io(_, .some) = try await failure({ try await chat.save(to: inTheWay.path) })
        else {
          Issue.record("not the error for a folder in the file's place")
          return
        }
        #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path) == ["folder"])
      }
      #expect(try await chat.reply("hello").finishReason == .endOfTurn)
    }

    @Test func corruptModel() async throws {
      try await withFolder { folder in
        let url = folder.appendingPathComponent("model.gguf")
        let whole = try bytes(of: try tinyModel("scripted.gguf"))
        for (bytes, part) in [
          (Data("no model at all, this is".utf8), "header"), (whole.prefix(20), ""),
          (whole.prefix(whole.count / 2), ""),
        ] {
          try bytes.write(to: url)
          let error = try await failure { try await Dormouse.load(.file(url)) }
          guard case .corruptModel(let place, let why) = error else {
            Issue.record("\(error)")
            continue
          }
          #expect(!place.isEmpty && !why.isEmpty)
          #expect(part.isEmpty || error.description.contains(part))
        }
      }
    }

    @Test func unsupportedModel() async throws {
      try await withFolder { folder in
        var bytes = try bytes(of: try tinyModel("scripted.gguf"))
        let key = try #require(bytes.range(of: Data("general.architecture".utf8)))
        let name = try #require(
          bytes.range(of: Data("llama".utf8), in: key.upperBound..<bytes.endIndex))
        bytes.replaceSubrange(name, with: Data("vicun".utf8))
        let url = folder.appendingPathComponent("model.gguf")
        try bytes.write(to: url)
        let error = try await failure { try await Dormouse.load(.file(url)) }
        guard case .unsupportedModel(let what) = error else {
          Issue.record("\(error)")
          return
        }
        #expect(what.contains("vicun"))
      }
    }

    @Test func template() async throws {
      let refuses = LoadOptions(chatTemplate: "{{ raise_exception('not today') }}")
      let chat = try await scripted(refuses).newChat()
      let error = try await failure { try await chat.reply("the user's words") }
      guard case .template(let why) = error else {
        Issue.record("\(error)")
        return
      }
      #expect(why.contains("not today"))
      #expect(!why.contains("the user's words"))
      #expect(try chat.messages == [])
    }

    /// A template shows its own words in what it raises, never those of the conversation.
    @Test(arguments: [
      ("{{ raise_exception('cannot handle: ' + messages[-1].content) }}", "cannot handle:"),
      ("{{ raise_exception(messages[-1].content) }}", "refuses the conversation"),
      ("{{ raise_exception('no: ' + messages[-1].content) }}", "refuses the conversation"),
      ("{{ messages[-1].content + 5 }}", "line 1"),
      ("{{ messages[-1].content | snore }}", "snore"),
    ])
    func aTemplateDoesNotQuoteTheConversation(_ template: String, _ says: String) async throws {
      let secret = "pelican walrus"
      let chat = try await scripted(LoadOptions(chatTemplate: template)).newChat()
      let error = try await failure { try await chat.reply(secret) }
      guard case .template(let why) = error else {
        Issue.record("\(error)")
        return
      }
      #expect(why.contains(says))
      for part in ["pelican", "walrus"] {
        #expect(!"\(why) \(error) \(error.localizedDescription)".contains(part))
      }
      #expect(try chat.messages == [])
    }

    @Test func outOfMemory() async throws {
      let options = LoadOptions(memory: .bytes(50_000))
      let error = try await failure { try await scripted(options) }
      guard case .outOfMemory(let needed, let budget) = error else {
        Issue.record("\(error)")
        return
      }
      #expect(budget == 50_000)
      #expect(needed > budget)
    }

    @Test func contextFull() async throws {
      let chat = try await scripted().newChat(options: ChatOptions(contextLength: 64))
      let words = String(repeating: "the user's words ", count: 20)
      let error = try await failure { try await chat.reply(words) }
      guard case .contextFull(let used, 64) = error else {
        Issue.record("\(error)")
        return
      }
      #expect(used > 64)
      #expect(try chat.messages == [])
      #expect(!error.description.contains("user's"))
    }

    @Test func invalidOptions() async throws {
      let model = try await scripted()
      let chat = try model.newChat()
      func refused(_ name: String, _ work: () async throws -> Void) async throws {
        let error = try await failure(work)
        guard case .invalidOptions(let what) = error else {
          Issue.record("\(error) for \(name)")
          return
        }
        #expect(what.localizedCaseInsensitiveContains(name))
        // The engine's own names are not those of the API.
        #expect(name == "get_weather" || !what.contains("_"))
      }
      for (name, sampler) in [
        ("temperature", SamplerOptions(temperature: -1)), ("top-p", SamplerOptions(topP: 2)),
        ("min-p", SamplerOptions(minP: -1)),
        ("repetition penalty", SamplerOptions(repetitionPenalty: 0)),
        ("presence penalty", SamplerOptions(presencePenalty: .nan)),
        ("frequency penalty", SamplerOptions(frequencyPenalty: .infinity)),
        ("top-k", SamplerOptions(topK: -1)),
        ("logit bias", SamplerOptions(logitBias: [100_000: 1])),
      ] {
        try await refused(name) {
          _ = try await chat.reply("a", options: ReplyOptions(sampler: sampler))
        }
      }
      try await refused("threads") { _ = try await scripted(LoadOptions(threads: 0)) }
      try await refused("threads") { _ = try await scripted(LoadOptions(threads: -1)) }
      try await refused("context length") { _ = try await scripted(LoadOptions(contextLength: 0)) }
      try await refused("context length") {
        _ = try model.newChat(options: ChatOptions(contextLength: -5))
      }
      try await refused("keep") {
        _ = try model.newChat(options: ChatOptions(whenFull: .shift(keep: -1)))
      }
      try await refused("limit on tokens") {
        _ = try await chat.reply("a", options: ReplyOptions(maxTokens: -1))
      }
      try await refused("get_weather") {
        var broken = weather
        broken.parameters = "{"
        _ = try await chat.reply("a", options: ReplyOptions(tools: [broken]))
      }
      try await refused("token") { _ = try model.detokenize([-1]) }
      try await refused("token") { _ = try model.detokenize([100_000]) }
      try await refused("index") { _ = try await joined(chat.edit(-1, text: "a")) }
      try await refused("user") { _ = try await joined(chat.edit(7, text: "a")) }
      #expect(try chat.messages == [])
    }

    @Test func busy() async throws {
      let chat = try await scripted().newChat()
      let iterator = chat.send("forever").makeAsyncIterator()
      _ = try await iterator.next()
      #expect(try await failure { try await chat.reply("hello") } == .busy)
      #expect(try await failure { try chat.reset() } == .busy)
      #expect(try await failure { try chat.setMessages([]) } == .busy)
      #expect(try await failure { try chat.setSystem("a") } == .busy)
      #expect(try await failure { try chat.contextUsed } == .busy)
      #expect(try chat.messages.first == .user("forever"))
      chat.cancel()
      while let event = try await iterator.next() {
        if case .done(_, let finishReason, _) = event { #expect(finishReason == .cancelled) }
      }
      #expect(try await chat.reply("hello").finishReason == .endOfTurn)
    }

    @Test func closed() async throws {
      let model = try await scripted()
      let chat = try model.newChat()
      chat.close()
      #expect(try await failure { try await chat.reply("hello") } == .closed)
      // Whatever else is wrong with the call.
      for wrong in [ReplyOptions(maxTokens: -1), ReplyOptions(templateVariables: "no")] {
        #expect(try await failure { try await chat.reply("hello", options: wrong) } == .closed)
      }
      #expect(try await failure { try await joined(chat.regenerate()) } == .closed)
      #expect(try await failure { try await joined(chat.edit(0, text: "a")) } == .closed)
      #expect(try await failure { try chat.messages } == .closed)
      #expect(try await failure { try chat.setMessages([]) } == .closed)
      #expect(try await failure { try chat.setSystem(nil) } == .closed)
      #expect(try await failure { try chat.reset() } == .closed)
      #expect(try await failure { try await chat.save(to: "/no/such/folder/chat") } == .closed)
      #expect(try await failure { try await chat.restore(from: "/no/such/folder/chat") } == .closed)
      #expect(try await failure { try chat.contextUsed } == .closed)
      chat.cancel()
      model.close()
      #expect(try await failure { try model.newChat() } == .closed)
      #expect(try await failure { try await joined(model.complete("a")) } == .closed)
      #expect(try await failure { try await model.tokenize("a") } == .closed)
      #expect(try await failure { try await model.countTokens("a") } == .closed)
      #expect(try await failure { try model.detokenize([1]) } == .closed)
    }

    @Test func restoringWhatIsNoChat() async throws {
      let chat = try await scripted().newChat(system: "Be brief.")
      try await withFolder { folder in
        let path = folder.appendingPathComponent("chat.json").path
        guard case .notFound = try await failure({ try await chat.restore(from: path) }) else {
          Issue.record("not the error for a file that is not there")
          return
        }
        try Data("no chat".utf8).write(to: URL(fileURLWithPath: path))
        guard case .io(_, nil) = try await failure({ try await chat.restore(from: path) }) else {
          Issue.record("not the error for a file that is no chat")
          return
        }
      }
      #expect(try chat.messages == [.system("Be brief.")])
    }

    @Test(.enabled(if: provokesPanics, "the library does not panic when it is asked to"))
    func aPanicIsAnErrorThatTellsItsPlaceAndTheAppLives() async throws {
      let words = "provoke a panic"
      let log = Shared<[String]>([])
      Dormouse.setLogger(.error) { level, target, message in
        #expect(level == .error)
        log.with { $0.append("\(target): \(message)") }
      }
      defer { Dormouse.setLogger(.error, sink: nil) }
      let model = try await scripted()
      let error = try await failure { try await model.tokenize("\u{0}\(words)") }
      guard case .internal(let place, let what) = error else {
        Issue.record("\(error)")
        return
      }
      #expect(place.contains("provoke.rs:"))
      #expect(!"\(place) \(what) \(error) \(error.localizedDescription)".contains(words))
      let records = log.with { $0 }
      #expect(records.contains { $0.contains("provoke.rs:") })
      #expect(!records.contains { $0.contains(words) })
      #expect(try await model.newChat().reply("hello").finishReason == .endOfTurn)
    }

    /// On the thread that computes the chat's replies, and on one that helps it.
    @Test(
      .enabled(if: provokesPanics, "the library does not panic when it is asked to"),
      arguments: ["\u{0}provoke a panic", "\u{0}provoke a panic in a pool task"])
    func aPanicWhileAReplyIsComputedClosesTheChatAlone(_ words: String) async throws {
      let model = try await scripted()
      let (chat, other) = (try model.newChat(), try model.newChat())
      #expect(try await chat.reply("hello").finishReason == .endOfTurn)
      for stream in [chat.send(words), model.complete(words)] {
        let error = try await failure { try await joined(stream) }
        guard case .internal(let place, let what) = error else {
          Issue.record("\(error)")
          continue
        }
        #expect(place.contains("provoke.rs:"))
        #expect(!"\(place) \(what) \(error) \(error.localizedDescription)".contains("provoke a"))
      }
      #expect(chat.isClosed)
      #expect(try await failure { try await chat.reply("hello") } == .closed)
      #expect(!other.isClosed)
      #expect(!model.isClosed)
      #expect(try await other.reply("hello").finishReason == .endOfTurn)
      #expect(try await model.newChat().reply("hello").finishReason == .endOfTurn)
    }

    /// Of all that the engine logs at the level that logs most, errors and a panic among it.
    @Test func theLogHoldsNoWordsOfAConversation() async throws {
      let log = Shared<[String]>([])
      Dormouse.setLogger(.trace) { _, target, message in
        log.with { $0.append("\(target): \(message)") }
      }
      defer { Dormouse.setLogger(.trace, sink: nil) }
      let model = try await scripted()
      let chat = try model.newChat(system: "pelican")
      #expect(try await chat.reply("hello walrus").finishReason == .endOfTurn)
      _ = try await failure {
        try await chat.reply("a", options: ReplyOptions(templateVariables: "ostrich"))
      }
      let quotes = try await scripted(
        LoadOptions(chatTemplate: "{{ raise_exception('no: ' + messages[-1].content) }}"))
      _ = try await failure { try await quotes.newChat().reply("heron") }
      _ = try await failure {
        try await model.newChat(options: ChatOptions(contextLength: 64))
          .reply(String(repeating: "magpie ", count: 100))
      }
      _ = try await model.tokenize("flamingo")
      if provokesPanics {
        _ = try await failure { try await model.tokenize("\u{0}provoke a panic") }
      }
      Dormouse.setLogger(.trace, sink: nil)
      let records = log.with { $0 }
      #expect(!provokesPanics || records.contains { $0.contains("panic at") })
      let secrets = ["pelican", "walrus", "ostrich", "heron", "magpie", "flamingo", "provoke a"]
      for record in records {
        #expect(!secrets.contains { record.localizedCaseInsensitiveContains($0) }, "\(record)")
      }
      let count = records.count
      if provokesPanics {
        _ = try await failure { try await model.tokenize("\u{0}provoke a panic") }
      }
      #expect(try await chat.reply("hello").finishReason == .endOfTurn)
      #expect(log.with { $0.count } == count)
    }

    @Test func aCancelledTaskThrowsCancellationError() async throws {
      let model = try await scripted()
      let chat = try model.newChat()
      for work: @Sendable () async throws -> Void in [
        { _ = try await chat.reply("hello") }, { _ = try await model.tokenize("a") },
        { _ = try await model.countTokens("a") },
        { try await chat.save(to: "/no/such/folder/chat") },
        { _ = try await Dormouse.plan(try tinyModel("tiny.gguf")) },
        { _ = try await joined(model.complete("a")) },
      ] {
        let task = Task {
          withUnsafeCurrentTask { $0?.cancel() }
          try await work()
        }
        await #expect(throws: CancellationError.self) { try await task.value }
      }
      #expect(try chat.messages == [])
    }
  }
}
