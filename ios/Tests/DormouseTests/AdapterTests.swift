import Foundation
import Testing

@testable import Dormouse

extension All {
  @Suite struct AdapterTests {
    /// What a chat that has said nothing yet answers.
    private func answer(_ chat: Chat) async throws -> String {
      let options = ReplyOptions(sampler: .greedy(), maxTokens: 24)
      let reply = try await chat.reply("Why do dormice sleep?", options: options)
      try chat.reset()
      return reply.text
    }

    private func adapter(of model: Model) async throws -> Adapter {
      try await model.loadAdapter(try tinyModel("adapter.gguf"))
    }

    @Test func anAdapterChangesTheAnswersOfItsChats() async throws {
      let model = try await tiny()
      let (chat, other) = (try model.newChat(), try model.newChat())
      let plain = try await answer(chat)
      let adapter = try await adapter(of: model)
      try await chat.setAdapters([AdapterScale(adapter)])
      let adapted = try await answer(chat)
      #expect(adapted != plain)
      #expect(try await answer(chat) == adapted)
      #expect(try await answer(other) == plain)
      try await other.setAdapters([AdapterScale(adapter, scale: 0)])
      #expect(try await answer(other) == plain)
      try await other.setAdapters([
        AdapterScale(adapter, scale: 0.5), AdapterScale(adapter, scale: 0.5),
      ])
      #expect(try await answer(other) != plain)
      try await chat.setAdapters([])
      #expect(try await answer(chat) == plain)
    }

    @Test func anAdapterThatIsClosedDoesNoHarmToTheChatsThatHaveIt() async throws {
      let model = try await tiny()
      let chat = try model.newChat()
      let plain = try await answer(chat)
      let adapter = try await adapter(of: model)
      try await chat.setAdapters([AdapterScale(adapter)])
      let adapted = try await answer(chat)
      #expect(!adapter.isClosed)
      adapter.close()
      adapter.close()
      #expect(adapter.isClosed)
      #expect(try await answer(chat) == adapted)
      let again = AdapterScale(adapter)
      #expect(try await failure { try await chat.setAdapters([again]) } == .closed)
      #expect(try await answer(chat) == adapted)
      try await chat.setAdapters([])
      #expect(try await answer(chat) == plain)
    }

    /// Linux tells which files are mapped.
    @Test(.enabled(if: FileManager.default.fileExists(atPath: "/proc/self/maps")))
    func aForgottenAdapterGoesWhenNoChatHasItAnyMoreAndAClosedOneAtOnce() async throws {
      let model = try await tiny(LoadOptions(fileAccess: .map))
      let chat = try model.newChat()
      try await withFolder { folder in
        let name = "\(UUID().uuidString).gguf"
        let url = folder.appendingPathComponent(name)
        try bytes(of: try tinyModel("adapter.gguf")).write(to: url)
        func isMapped() throws -> Bool {
          let maps = try FileHandle(forReadingFrom: URL(fileURLWithPath: "/proc/self/maps"))
          return String(decoding: try maps.readToEnd() ?? Data(), as: UTF8.self).contains(name)
        }
        try await chat.setAdapters([AdapterScale(try await model.loadAdapter(.file(url)))])
        #expect(try isMapped())
        try await chat.setAdapters([])
        #expect(try !isMapped())
        let adapter = try await model.loadAdapter(.file(url))
        #expect(try isMapped())
        adapter.close()
        #expect(try !isMapped())
      }
    }

    @Test func aForgottenAdapterStaysWithItsChats() async throws {
      let model = try await tiny()
      let chat = try model.newChat()
      try await chat.setAdapters([AdapterScale(try await adapter(of: model))])
      let kept = try model.newChat()
      let adapter = try await adapter(of: model)
      try await kept.setAdapters([AdapterScale(adapter)])
      #expect(try await answer(chat) == (try await answer(kept)))
      #expect(!adapter.isClosed)
    }

    @Test func whatDoesNotFitIsRefusedAndTheFormerAdaptersStay() async throws {
      let model = try await tiny()
      let chat = try model.newChat()
      let adapter = try await adapter(of: model)
      try await chat.setAdapters([AdapterScale(adapter)])
      let adapted = try await answer(chat)
      let foreign = try await self.adapter(of: try await tiny())
      for (scales, word) in [
        ([AdapterScale(adapter), AdapterScale(foreign)], "another model"),
        ([AdapterScale(adapter, scale: .nan)], "scale"),
        ([AdapterScale(adapter, scale: .infinity)], "scale"),
      ] {
        let error = try await failure { try await chat.setAdapters(scales) }
        guard case .invalidOptions(let what) = error else {
          Issue.record("\(error)")
          return
        }
        #expect(what.contains(word))
      }
      #expect(try await answer(chat) == adapted)

      let none = try await failure { try await model.loadAdapter(try tinyModel("tiny.gguf")) }
      guard case .unsupportedModel = none else {
        Issue.record("\(none)")
        return
      }
      let missing = try await failure { try await model.loadAdapter(.path("/no/such/adapter")) }
      guard case .notFound = missing else {
        Issue.record("\(missing)")
        return
      }
      let other = try await scripted()
      let strange = try await failure { try await self.adapter(of: other) }
      switch strange {
      case .unsupportedModel, .corruptModel: break
      default: Issue.record("\(strange)")
      }
    }

    @Test func adaptersAreNotChangedWhileTheChatAnswersOrWhenItIsClosed() async throws {
      let model = try await scripted()
      let chat = try model.newChat()
      let iterator = chat.send("forever").makeAsyncIterator()
      _ = try await iterator.next()
      #expect(try await failure { try await chat.setAdapters([]) } == .busy)
      // One that was cancelled is waited for.
      chat.cancel()
      try await chat.setAdapters([])
      chat.close()
      #expect(try await failure { try await chat.setAdapters([]) } == .closed)
      model.close()
      #expect(try await failure { try await adapter(of: model) } == .closed)
    }
  }
}
