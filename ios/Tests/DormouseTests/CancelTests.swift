import Foundation
import Testing

@testable import Dormouse

/// Ways to end an answer while it is being computed.
enum Way: CaseIterable {
  case taskCancelled, brokenOut, cancelled, closed
}

extension All {
  @Suite struct CancelTests {
    /// The engine's own counter tells how many tokens it began after it was told to end.
    @Test(arguments: Way.allCases)
    func nativeWorkEndsWithinOneToken(_ way: Way) async throws {
      let model = try await scripted(LoadOptions(contextLength: 256))
      let options = ChatOptions(whenFull: .shift())
      var chat = try model.newChat(options: options)
      var random = Random(seed: 1)
      var after: [Int] = []
      for _ in 0..<200 {
        if chat.isClosed { chat = try model.newChat(options: options) }
        let noted = Shared<NativeReply?>(nil)
        let pause = Duration.microseconds(Int(random.next(below: 600)))
        try await ended(way, chat, pause: pause, noted)
        let reply = try #require(noted.with { $0 })
        let tokens = try #require(try await reply.tokensAfterCancel())
        after.append(tokens)
        if way != .closed {
          #expect(!chat.isClosed)
          try chat.reset()
        }
      }
      let p99 = after.sorted()[after.count * 99 / 100 - 1]
      #expect(p99 <= 1)
      if !chat.isClosed {
        #expect(try await chat.reply("hello").finishReason == .endOfTurn)
      }
    }

    /// Whatever else was wrong with it.
    @Test func aTaskThatIsCancelledWhileAnAnswerStartsIsToldThat() async throws {
      let chat = try await scripted().newChat(options: ChatOptions(contextLength: 64))
      let long = String(repeating: "too long ", count: 100_000)
      try await until {
        let task = Task { try await chat.reply(long) }
        try await Task.sleep(for: .milliseconds(20))
        task.cancel()
        do {
          _ = try await task.value
        } catch is CancellationError {
          return true
        } catch DormouseError.contextFull {
          // It was over before it was cancelled.
        }
        return false
      }
    }

    /// Starts an endless answer, and ends it after a while.
    private func ended(
      _ way: Way, _ chat: Chat, pause: Duration, _ noted: Shared<NativeReply?>
    ) async throws {
      let stream = endless(chat, noted: noted)
      let started = AsyncStream<Void>.makeStream()
      let task = Task {
        var first = true
        for try await _ in stream {
          if first {
            started.continuation.finish()
            first = false
            if way == .brokenOut {
              try await Task.sleep(for: pause)
              break
            }
          }
          // Nobody takes more: the end must come from outside.
          if way != .taskCancelled { try await Task.sleep(for: .seconds(5)) }
        }
      }
      for await _ in started.stream {}
      switch way {
      case .brokenOut:
        try await task.value
      case .taskCancelled:
        try await Task.sleep(for: pause)
        task.cancel()
        await #expect(throws: CancellationError.self) { try await task.value }
      case .cancelled, .closed:
        try await Task.sleep(for: pause)
        if way == .closed { chat.close() } else { chat.cancel() }
        // Ends the test's own pause.
        task.cancel()
        _ = await task.result
      }
    }

    @Test func aCancelledAnswerEndsAsUsual() async throws {
      let chat = try await scripted().newChat()
      var events: [Event] = []
      for try await event in chat.send("forever") {
        events.append(event)
        chat.cancel()
      }
      let (metrics, finishReason) = try end(of: events)
      #expect(finishReason == .cancelled)
      #expect(metrics.tokensAfterCancel <= 1)
      #expect(try chat.messages.last?.text.hasPrefix("tick") == true)
      #expect(try await chat.reply("hello").finishReason == .endOfTurn)
    }

    /// Cancelled while the template renders, which takes a while in one of them, the text is
    /// tokenized or the prompt computed: none of it is too early.
    @Test(arguments: [
      nil,
      """
      {% for i in range(10) %}{% for j in range(300) %}{% endfor %}{% endfor %}\
      {% for m in messages %}{{ m.content }}{% endfor %}<|forever|>
      """,
    ])
    func anAnswerIsCancelledWhileItStarts(_ template: String?) async throws {
      let model = try await scripted(LoadOptions(chatTemplate: template))
      let chat = try model.newChat(options: ChatOptions(whenFull: .shift()))
      let text = String(repeating: "tick tock and so on, ", count: 40) + "forever"
      let tokens = try await model.countTokens(text)
      #expect((500..<1000).contains(tokens), "\(tokens) tokens")
      for attempt in 0..<200 {
        let begun = AsyncStream<Void>.makeStream()
        // It never ends by itself so soon; where it was not cancelled, it tells otherwise.
        let stream = answer(
          to: "\(attempt) \(text)", by: chat, options: ReplyOptions(maxTokens: 300_000)
        ) { begun.continuation.finish() }
        let task = Task { try await joined(stream) }
        for await _ in begun.stream {}
        try await Task.sleep(for: .milliseconds(1 + attempt % 8))
        chat.cancel()
        let (metrics, finishReason) = try end(of: try await task.value)
        #expect(finishReason == .cancelled, "attempt \(attempt)")
        #expect(metrics.tokensAfterCancel <= 1)
        try chat.reset()
      }
      #expect(try chat.messages == [])
      let short = try await chat.reply("hello", options: ReplyOptions(maxTokens: 5))
      #expect(short.metrics.generatedTokens == 5)
    }

    /// From the moment that the stream is iterated: the native call may be asked for later.
    @Test func aCancelBeforeTheEngineIsAskedIsNotLost() async throws {
      let chat = try await scripted().newChat()
      for _ in 0..<20 {
        let stream = answer(to: "hello", by: chat, options: ReplyOptions()) { chat.cancel() }
        #expect(try end(of: try await joined(stream)).finishReason == .cancelled)
      }
      // A stream that nobody asks for an event yet is not cancelled.
      let iterator = chat.send("hello").makeAsyncIterator()
      chat.cancel()
      var events: [Event] = []
      while let event = try await iterator.next() { events.append(event) }
      #expect(try end(of: events).finishReason == .endOfTurn)
    }

    @Test func aClosedAnswerEndsAsUsual() async throws {
      let chat = try await scripted().newChat()
      var events: [Event] = []
      for try await event in chat.send("forever") {
        events.append(event)
        chat.close()
      }
      #expect(try end(of: events).finishReason == .cancelled)
    }

    @Test func aHeldStreamDoesNotKeepABrokenLoopGoing() async throws {
      let chat = try await scripted().newChat()
      let stream = chat.send("forever")
      for try await _ in stream { break }
      #expect(try await chat.reply("hello").finishReason == .endOfTurn)
      for try await _ in stream { break }
      #expect(try await chat.reply("hello").finishReason == .endOfTurn)
    }

    @Test func aTaskCancelledBetweenEventsThrows() async throws {
      let chat = try await scripted().newChat()
      let task = Task {
        for try await _ in chat.send("forever") {
          withUnsafeCurrentTask { $0?.cancel() }
        }
      }
      await #expect(throws: CancellationError.self) { try await task.value }
      #expect(try await chat.reply("hello").finishReason == .endOfTurn)
    }

    @Test func aTaskCancelledWhileNothingComesEndsTheReply() async throws {
      let asked = AsyncStream<Void>.makeStream()
      let stream = ReplyStream { _ in
        asked.continuation.finish()
        return SilentReply()
      }
      let task = Task { for try await _ in stream {} }
      for await _ in asked.stream {}
      try await Task.sleep(for: .milliseconds(20))
      task.cancel()
      await #expect(throws: CancellationError.self) { try await task.value }
    }

    @Test func aReplyIsCancelledWithItsTask() async throws {
      // One whose context is full would end by itself, within some tens of milliseconds.
      let chat = try await scripted().newChat(options: ChatOptions(whenFull: .shift()))
      let endless = ReplyOptions(maxTokens: 300_000)
      let task = Task { try await chat.reply("forever", options: endless) }
      while try chat.messages.count < 2 { try await Task.sleep(for: .milliseconds(1)) }
      task.cancel()
      await #expect(throws: CancellationError.self) { _ = try await task.value }
      #expect(try await chat.reply("hello").finishReason == .endOfTurn)
    }

    /// Whatever eight tasks do to three chats and their model: it ends, and each error is one that
    /// they must expect.
    @Test func anyOrderOfCallsIsSafe() async throws {
      let used = Used()
      let rounds = share(1000) / 8 + 1
      let busy = Shared(0)
      let saved = Shared(0)
      let closed = Shared(0)
      try await withFolder { folder in
        try await withThrowingTaskGroup(of: Void.self) { group in
          for seed in 1...8 {
            group.addTask {
              var random = Random(seed: UInt64(seed))
              let file = folder.appendingPathComponent("\(seed).json").path
              for round in 0..<rounds {
                let place = Int(random.next(below: 3))
                do {
                  let chat = try await used.chat(place)
                  // Every task has its turns to close the model that all use.
                  if round % 16 == seed + 3 {
                    chat.model.close()
                    closed.with { $0 += 1 }
                  }
                  try await act(on: chat, &random)
                  if random.next(below: 4) == 0 {
                    try await chat.save(to: file)
                    saved.with { $0 += 1 }
                    try await chat.restore(from: file)
                  }
                } catch DormouseError.busy {
                  busy.with { $0 += 1 }
                } catch DormouseError.closed, is CancellationError {
                } catch DormouseError.contextFull {
                  try? await used.chat(place).reset()
                } catch DormouseError.invalidOptions(let what) where what.contains("no message") {
                  // Another task reset the chat that this one wants another answer of.
                }
              }
            }
          }
          try await group.waitForAll()
        }
      }
      // Most of them did something.
      let met = busy.with { $0 }
      print(
        "of \(8 * rounds) calls \(met) met a busy chat; \(saved.with { $0 }) chats were saved, "
          + "\(closed.with { $0 }) models closed")
      #expect(met < 6 * rounds)
      #expect(saved.with { $0 } >= rounds / 8)
      #expect(closed.with { $0 } >= rounds / 4)
      let last = try await used.chat(0)
      last.cancel()
      last.model.close()
      #expect(try await used.chat(0).reply("hello").finishReason == .endOfTurn)
    }
  }
}

/// A model and its three chats for all tasks, made anew when they are closed.
private actor Used {
  private var model: Model?
  private var chats = [Chat?](repeating: nil, count: 3)

  func chat(_ place: Int) async throws -> Chat {
    if let chat = chats[place], !chat.isClosed { return chat }
    if model?.isClosed != false {
      // Two tasks may come to this at once: the model of one of them is then soon forgotten.
      model = try await scripted(LoadOptions(contextLength: 256))
    }
    guard let model else { throw DormouseError.closed }
    let chat = try model.newChat()
    chats[place] = chat
    return chat
  }
}

/// Does one of the things that a careless app does.
private func act(on chat: Chat, _ random: inout Random) async throws {
  let words = ["hello", "forever", "think", "stop"][Int(random.next(below: 4))]
  let pause = Duration.microseconds(Int(random.next(below: 2000)))
  switch random.next(below: 9) {
  case 0:
    for try await _ in chat.send(words) { break }
  case 1:
    let task = Task { try await chat.reply(words) }
    try await Task.sleep(for: pause)
    task.cancel()
    _ = try await task.value
  case 2:
    let task = Task { try await chat.reply(words, options: ReplyOptions(maxTokens: 50)) }
    try await Task.sleep(for: pause)
    chat.cancel()
    _ = try await task.value
  case 3:
    let task = Task { try await chat.reply(words, options: ReplyOptions(maxTokens: 50)) }
    try await Task.sleep(for: pause)
    chat.close()
    _ = try await task.value
  case 4:
    _ = chat.send(words).makeAsyncIterator()
    _ = try chat.messages
  case 5:
    let iterator = chat.send(words).makeAsyncIterator()
    _ = try await iterator.next()
    try await Task.sleep(for: pause)
  case 6:
    try chat.reset()
    _ = try chat.contextUsed
  case 7:
    for try await _ in chat.regenerate(options: ReplyOptions(maxTokens: 20)) {}
  default:
    _ = try await chat.reply(words, options: ReplyOptions(maxTokens: 20))
  }
}

/// A small generator, so that what failed can be done again (xorshift64*, Vigna 2016).
struct Random {
  private var state: UInt64

  init(seed: UInt64) { state = seed &* 0x9E37_79B9_7F4A_7C15 | 1 }

  mutating func next(below bound: UInt64) -> UInt64 {
    state ^= state >> 12
    state ^= state << 25
    state ^= state >> 27
    return (state &* 0x2545_F491_4F6C_DD1D) >> 33 % bound
  }
}
