import Foundation
import Testing

@testable import Dormouse

extension All {
  @Suite struct StreamTests {
    @Test func nothingIsSentBeforeTheStreamIsIterated() async throws {
      let chat = try await scripted().newChat()
      let stream = chat.send("hello")
      let iterator = stream.makeAsyncIterator()
      try await Task.sleep(for: .milliseconds(50))
      #expect(try chat.messages == [])
      _ = try await iterator.next()
      #expect(try chat.messages.first == .user("hello"))
    }

    @Test func eachIterationSendsAnew() async throws {
      let chat = try await scripted().newChat()
      let stream = chat.send("hello")
      let first = try await joined(stream)
      #expect(try await joined(stream).first == first.first)
      #expect(try chat.messages.map(\.role) == [.user, .assistant, .user, .assistant])
    }

    @Test func nothingFollowsTheEnd() async throws {
      let chat = try await scripted().newChat()
      let iterator = chat.send("hello").makeAsyncIterator()
      var ended = false
      while let event = try await iterator.next() {
        #expect(!ended)
        if case .done = event { ended = true }
      }
      #expect(ended)
      #expect(try await iterator.next() == nil)
      let fails = chat.edit(-1, text: "a").makeAsyncIterator()
      await #expect(throws: DormouseError.self) { try await fails.next() }
      #expect(try await fails.next() == nil)
    }

    @Test func aStreamOfTheStandardLibrarysType() async throws {
      let chat = try await scripted().newChat()
      var text = ""
      for try await event in AsyncThrowingStream(chat.send("hello")) {
        if case .token(let more) = event { text += more }
      }
      #expect(text.hasPrefix("Hello"))
      for try await _ in AsyncThrowingStream(chat.send("forever")) { break }
      #expect(try await chat.reply("hello").finishReason == .endOfTurn)
    }

    @Test func aSlowLoopMakesTheEngineWait() async throws {
      let chat = try await scripted().newChat()
      var events: [Event] = []
      for try await event in chat.send("forever", options: ReplyOptions(maxTokens: 400)) {
        events.append(event)
        if events.count == 1 { try await Task.sleep(for: .milliseconds(400)) }
      }
      let (metrics, finishReason) = try end(of: events)
      #expect(finishReason == .maxTokens)
      #expect(metrics.generatedTokens == 400)
      #expect(metrics.stalledSeconds > 0.2)
    }

    /// The engine is at most so many tokens ahead that they are soon used up.
    @Test func anAnswerThatNobodyTakesDoesNotGoOn() async throws {
      let chat = try await scripted().newChat()
      let iterator = chat.send("forever").makeAsyncIterator()
      _ = try await iterator.next()
      try await Task.sleep(for: .milliseconds(300))
      let text = try #require(try chat.messages.last).text
      try await Task.sleep(for: .milliseconds(200))
      #expect(try chat.messages.last?.text == text)
      // Five tokens are 21 characters; two batches can be on their way.
      #expect(text.count < 3 * 64 * 5)
    }

    @Test func aBlockedMainActorDoesNotBlockAnotherChat() async throws {
      let model = try await scripted(LoadOptions(threads: 1))
      let (slow, other) = (try model.newChat(), try model.newChat())
      let (blocked, replied) = (Shared(false), Shared(false))
      let onMain = Task { @MainActor in
        var inTime: Bool?
        for try await _ in slow.send("forever", options: ReplyOptions(maxTokens: 300)) {
          guard inTime == nil else { continue }
          blocked.with { $0 = true }
          inTime = block { replied.with { $0 } }
        }
        return inTime
      }
      while !blocked.with({ $0 }) { try await Task.sleep(for: .milliseconds(1)) }
      let reply = try await other.reply("forever", options: ReplyOptions(maxTokens: 300))
      replied.with { $0 = true }
      #expect(reply.metrics.generatedTokens == 300)
      #expect(try await onMain.value == true, "the other chat had to wait")
    }
  }
}

/// Blocks the thread, as an app's bad code does, until `over` is true; false if that is not so for long.
private func block(until over: () -> Bool) -> Bool {
  let limit = Date() + 30
  while !over(), Date() < limit { Thread.sleep(forTimeInterval: 0.01) }
  return over()
}
