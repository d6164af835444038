import Foundation
import Testing

@testable import Dormouse

extension All {
  /// What is given up before it is done is told to the engine there and then, and does not happen
  /// later.
  @Suite struct GivenUpTests {
    private func shifting() async throws -> Chat {
      try await scripted().newChat(options: ChatOptions(whenFull: .shift()))
    }

    /// A task that has an answer started which takes the template and the tokenizer a while.
    private func starting(_ chat: Chat) async throws -> Task<Void, any Error> {
      let text = String(repeating: "never too much. ", count: 20_000)
      let task = Task { for try await _ in chat.send(text) {} }
      while true {
        do {
          try chat.reset()
          await Task.yield()
        } catch DormouseError.busy {
          return task
        }
      }
    }

    @Test func whoCancelsAnAnswerThatIsOnlyBeingStartedDoesNotFindTheChatBusy() async throws {
      let chat = try await shifting()
      try await starting(chat).cancel()
      try chat.reset()
      try await starting(chat).cancel()
      try chat.setSystem(nil)
      try await starting(chat).cancel()
      try chat.setMessages([])
      #expect(try chat.messages == [])
      try await starting(chat).cancel()
      #expect(try await chat.reply("hello").finishReason == .endOfTurn)
      try chat.reset()
      try await starting(chat).cancel()
      try await chat.setAdapters([])
    }

    @Test func whoCancelsIsNotKeptWaitingForTheRestOfAStart() async throws {
      let chat = try await shifting()
      let task = try await starting(chat)
      let begin = ContinuousClock.now
      task.cancel()
      await #expect(throws: CancellationError.self) { try await task.value }
      let told = ContinuousClock.now - begin
      try chat.reset()
      let waited = ContinuousClock.now - begin
      #expect(told < waited / 2)
    }

    @Test func aSecondAnswerIsRefusedWhileOneIsOnlyBeingStarted() async throws {
      let chat = try await shifting()
      let task = try await starting(chat)
      #expect(try await failure { try await chat.reply("hi") } == .busy)
      task.cancel()
    }

    @Test func aRestoreThatWasGivenUpDoesNotHappenLater() async throws {
      try await withFolder { folder in
        let file = folder.appendingPathComponent("chat.json")
        let chat = try await scripted().newChat()
        try chat.setMessages((0..<20_000).map { .user("old words \($0)") })
        try await chat.save(to: file)
        let begin = ContinuousClock.now
        try await chat.restore(from: file)
        let whole = ContinuousClock.now - begin
        let fresh = [Message.user("fresh")]
        for waiting in [true, false] {
          let task = Task { try await chat.restore(from: file) }
          try await Task.sleep(for: whole / 8)
          task.cancel()
          if waiting {
            await #expect(throws: CancellationError.self) { try await task.value }
          }
          try chat.setMessages(fresh)
          try await Task.sleep(for: whole * 2)
          #expect(try chat.messages == fresh)
        }
        try await chat.restore(from: file)
        #expect(try chat.messages.count == 20_000)
      }
    }
  }
}
