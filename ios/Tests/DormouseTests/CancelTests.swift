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
      let stream = ReplyStream {
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
      let chat = try await scripted().newChat()
      let task = Task { try await chat.reply("forever") }
      while try chat.messages.count < 2 { try await Task.sleep(for: .milliseconds(1)) }
      task.cancel()
      await #expect(throws: CancellationError.self) { _ = try await task.value }
      #expect(try await chat.reply("hello").finishReason == .endOfTurn)
    }

    /// Whatever eight tasks do to three chats: it ends, and each error is one that they must expect.
    @Test func anyOrderOfCallsIsSafe() async throws {
      let model = try await scripted(LoadOptions(contextLength: 256))
      let chats = Shared(try (0..<3).map { _ in try model.newChat() })
      let rounds = share(1000) / 8 + 1
      let busy = Shared(0)
      try await withThrowingTaskGroup(of: Void.self) { group in
        for seed in 1...8 {
          group.addTask {
            var random = Random(seed: UInt64(seed))
            for _ in 0..<rounds {
              let place = Int(random.next(below: 3))
              var chat = chats.with { $0[place] }
              if chat.isClosed {
                chat = try model.newChat()
                chats.with { $0[place] = chat }
              }
              do {
                try await act(on: chat, &random)
              } catch DormouseError.busy {
                busy.with { $0 += 1 }
              } catch DormouseError.closed, is CancellationError {
              } catch DormouseError.contextFull {
                try? chat.reset()
              } catch DormouseError.invalidOptions(let what) where what.contains("no message") {
                // Another task reset the chat that this one wants another answer of.
              }
            }
          }
        }
        try await group.waitForAll()
      }
      // Most of them did something.
      print("\(busy.with { $0 }) of \(8 * rounds) calls met a busy chat")
      #expect(busy.with { $0 } < 6 * rounds)
      for chat in chats.with({ $0 }) {
        chat.cancel()
        chat.close()
      }
      #expect(try await model.newChat().reply("hello").finishReason == .endOfTurn)
    }
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
