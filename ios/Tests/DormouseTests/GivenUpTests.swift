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
      for _ in 0..<20 {
        try chat.reset()
        let over = Shared(false)
        let task = Task {
          defer { over.with { $0 = true } }
          for try await _ in chat.send(text) {}
        }
        while !over.with({ $0 }) {
          do {
            await Task.yield()
            try chat.reset()
          } catch DormouseError.busy {
            return task
          }
        }
      }
      throw Missing(description: "every start was over before it was seen")
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
      try await until {
        let task = try await starting(chat)
        let begin = ContinuousClock.now
        task.cancel()
        await #expect(throws: CancellationError.self) { try await task.value }
        let told = ContinuousClock.now - begin
        try chat.reset()
        let waited = ContinuousClock.now - begin
        return told < waited / 2
      }
    }

    @Test func aSecondAnswerIsRefusedWhileOneIsOnlyBeingStarted() async throws {
      let chat = try await shifting()
      try await until {
        let task = try await starting(chat)
        defer { task.cancel() }
        do {
          _ = try await chat.reply("hi")
          return false
        } catch DormouseError.busy {
          return true
        }
      }
    }

    /// Whether the task was cancelled before its work was done.
    private func wasCancelled(_ task: Task<Void, any Error>) async throws -> Bool {
      do {
        try await task.value
        return false
      } catch is CancellationError {
        return true
      }
    }

    @Test func aRestoreThatWasGivenUpDoesNotHappenLater() async throws {
      try await withFolder { folder in
        let file = folder.appendingPathComponent("chat.json")
        let chat = try await scripted().newChat()
        try chat.setMessages((0..<20_000).map { .user("old words \($0)") })
        try await chat.save(to: file)
        let fresh = [Message.user("fresh")]
        try await until {
          let begin = ContinuousClock.now
          try await chat.restore(from: file)
          let whole = ContinuousClock.now - begin
          #expect(try chat.messages.count == 20_000)
          var cancelled = true
          for waiting in [true, false] {
            let task = Task { try await chat.restore(from: file) }
            try await Task.sleep(for: whole / 8)
            task.cancel()
            if waiting { cancelled = try await wasCancelled(task) }
            try chat.setMessages(fresh)
            try await Task.sleep(for: whole * 2)
            #expect(try chat.messages == fresh)
          }
          return cancelled
        }
        try await chat.restore(from: file)
        #expect(try chat.messages.count == 20_000)
      }
    }

    @Test func aSaveThatWasGivenUpDoesNotHappenLater() async throws {
      try await withFolder { folder in
        let file = folder.appendingPathComponent("chat.json")
        let chat = try await scripted().newChat()
        let reader = try chat.model.newChat()
        let old = (0..<20_000).map { Message.user("old words \($0)") }
        let fresh = [Message.user("fresh")]
        try await until {
          try chat.setMessages(old)
          let begin = ContinuousClock.now
          try await chat.save(to: file)
          let whole = ContinuousClock.now - begin
          var cancelled = true
          for waiting in [true, false] {
            try chat.setMessages(old)
            let task = Task { try await chat.save(to: file) }
            try await Task.sleep(for: whole / 8)
            task.cancel()
            if waiting { cancelled = try await wasCancelled(task) }
            try chat.setMessages(fresh)
            try await chat.save(to: file)
            try await Task.sleep(for: whole * 2)
            try await reader.restore(from: file)
            #expect(try reader.messages == fresh)
          }
          return cancelled
        }
      }
    }
  }
}
