import Foundation
import Testing

@testable import Dormouse

private let mebibyte = 1 << 20

extension All {
  @Suite struct LeakTests {
    @Test(.enabled(if: tellsResidentMemory))
    func residentMemoryIsMeasured() throws {
      // Pages of their own: an array may be given memory that another test left resident.
      let size = 64 * mebibyte
      let before = try residentMemory()
      let held = try #require(
        mmap(nil, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANON, -1, 0))
      #expect(held != MAP_FAILED)
      memset(held, 1, size)
      #expect(try residentMemory() - before > 48 * mebibyte)
      munmap(held, size)
      #expect(try residentMemory() - before < 16 * mebibyte)
    }

    @Test(.enabled(if: tellsResidentMemory))
    func roundsOfLoadChatCloseLeaveNothing() async throws {
      func round(_ number: Int) async throws {
        let model = try await scripted()
        let chat = try model.newChat()
        _ = try await chat.reply("hello")
        for try await _ in chat.send("forever") { break }
        // Every other round forgets what it should close.
        if number % 2 == 0 {
          chat.close()
          model.close()
        }
      }
      for number in 0..<20 { try await round(number) }
      let before = try residentMemory()
      for number in 0..<share(200) { try await round(number) }
      let growth = try residentMemory() - before
      print("after \(share(200)) rounds resident memory grew by \(growth / 1024) KiB")
      #expect(growth < 4 * mebibyte)
    }

    @Test(.enabled(if: tellsResidentMemory))
    func sendsInOneChatLeaveNothing() async throws {
      let chat = try await scripted().newChat()
      func send(_ times: Int) async throws {
        for number in 0..<times {
          // The history is the app's to keep short.
          if number % 10 == 0 { try chat.reset() }
          _ = try await chat.reply("hello")
        }
      }
      try await send(300)
      let before = try residentMemory()
      try await send(share(10_000))
      let growth = try residentMemory() - before
      print("after \(share(10_000)) sends resident memory grew by \(growth / 1024) KiB")
      #expect(growth < mebibyte)
    }

    @Test func forgottenObjectsGiveTheirMemoryBack() async throws {
      // Room for the model and one chat, not for two.
      let needs = try await Dormouse.plan(try tinyModel("scripted.gguf")).needs
      let options = LoadOptions(memory: .bytes(needs.total + needs.kvCache / 2))
      let model = try await scripted(options)
      for _ in 0..<20 {
        let chat = try model.newChat()
        _ = try await chat.reply("hello")
        let error = try await failure {
          let second = try model.newChat()
          _ = try await second.reply("hello")
        }
        guard case .outOfMemory = error else {
          Issue.record("\(error)")
          return
        }
        _ = chat.isClosed
      }
    }

    @Test func objectsAreFreedWithTheirLastReference() async throws {
      weak var model: Model?
      weak var chat: Chat?
      do {
        let held = try await scripted()
        let opened = try held.newChat()
        (model, chat) = (held, opened)
        _ = try await opened.reply("hello")
        for try await _ in opened.send("forever") { break }
        let stopped = Task { try await opened.reply("forever") }
        try await Task.sleep(for: .milliseconds(5))
        stopped.cancel()
        _ = await stopped.result
      }
      #expect(chat == nil)
      #expect(model == nil)
    }
  }
}
