import Foundation
import Testing

@testable import Dormouse

extension All {
  @Suite struct LoadTests {
    @Test func theEngineTellsItsVersion() {
      #expect(Dormouse.version.split(separator: ".").count == 3)
    }

    @Test func aPlanTellsWhatAModelTakes() async throws {
      let source = try tinyModel("scripted.gguf")
      guard case .fits(let needs, let tight) = try await Dormouse.plan(source) else {
        Issue.record("it does not fit")
        return
      }
      #expect(!tight)
      #expect(needs.contextLength == 1024)
      #expect(needs.total == needs.weights + needs.kvCache + needs.buffers)
      let small = try await Dormouse.plan(source, options: LoadOptions(contextLength: 100))
      #expect(small.needs.contextLength == 100)
      #expect(small.needs.kvCache < needs.kvCache)
    }

    @Test func aPlanRefusesWhatIsOverTheBudget() async throws {
      let options = LoadOptions(memory: .bytes(10_000))
      guard
        case .refused(let needs, let allowed, let reason) = try await Dormouse.plan(
          try tinyModel("scripted.gguf"), options: options)
      else {
        Issue.record("it is not refused")
        return
      }
      #expect(allowed == 10_000)
      #expect(needs.total > allowed)
      #expect(reason.contains("budget"))
    }

    @Test func aFileThatOthersCanWriteIsReadInAndThePlanCountsItAsLongAsItIs() async throws {
      let whole = try bytes(of: try tinyModel("tiny.gguf"))
      try await withFolder { folder in
        let url = folder.appendingPathComponent("tiny.gguf")
        try whole.write(to: url)
        func weights(_ access: FileAccess) async throws -> Int {
          let options = LoadOptions(fileAccess: access)
          return Int(try await Dormouse.plan(.file(url), options: options).needs.weights)
        }
        #expect(chmod(url.path, 0o600) == 0)
        let mapped = try await weights(.auto)
        #expect(mapped < whole.count)
        #expect(try await weights(.readIn) == whole.count)
        #expect(chmod(url.path, 0o666) == 0)
        #expect(try await weights(.auto) == whole.count)
        #expect(try await weights(.map) == mapped)
        // What is loaded is what was planned: read in, it outlives its file.
        let model = try await Dormouse.load(.file(url))
        let before = try await model.embed("a")
        #expect(truncate(url.path, 0) == 0)
        #expect(try await model.embed("a") == before)
      }
    }

    @Test func budgetsAreInBytes() {
      #expect(MemoryBudget.mib(2500).bytes == 2500 * 1024 * 1024)
      #expect(MemoryBudget.mib(.max).bytes == .max)
    }

    @Test func aModelTellsWhatItIs() async throws {
      let model = try await scripted(LoadOptions(contextLength: 200))
      #expect(model.info.architecture == "llama")
      #expect(model.info.trainedContextLength == 1024)
      #expect(model.info.contextLength == 200)
      #expect(model.info.hasChatTemplate)
      #expect(model.info.takesTools)
      #expect(model.info.reasons)
      #expect(model.info.parameters > 0)
      #expect(model.info.layers > 0)
      #expect(model.info.embeddingLength > 0)
      #expect(model.info.vocabularySize > 100)
      let file = try bytes(of: try tinyModel("scripted.gguf"))
      #expect(Int(model.info.fileBytes) == file.count)
      #expect(!model.info.quantization.isEmpty)
    }

    @Test func whatIsNotInForceIsTold() async throws {
      let asked = try await scripted(LoadOptions(energy: .saver))
      #expect(asked.info.notInForce.contains { $0.contains("energy") })
      let unasked = try await scripted(LoadOptions(energy: .performance))
      #expect(unasked.info.notInForce == [])
    }

    @Test func aModelLoadsFromAFileURL() async throws {
      guard case .path(let path) = try tinyModel("tiny.gguf") else { return }
      let model = try await Dormouse.load(.file(URL(fileURLWithPath: path)))
      #expect(model.info.contextLength == 512)
      let page = try #require(URL(string: "https://example.org/tiny.gguf"))
      let error = try await failure { try await Dormouse.load(.file(page)) }
      guard case .invalidOptions = error else {
        Issue.record("\(error)")
        return
      }
    }

    @Test func aModelLoadsFromAWindowOfAnOpenFile() async throws {
      let whole = try bytes(of: try tinyModel("scripted.gguf"))
      try await withFolder { folder in
        let url = folder.appendingPathComponent("packed")
        try (Data(count: 8192) + whole + Data("more".utf8)).write(to: url)
        let file = try FileHandle(forReadingFrom: url)
        let model = try await Dormouse.load(
          .descriptor(fd: file.fileDescriptor, offset: 8192, length: whole.count))
        // The caller's descriptor is still the caller's.
        try file.seek(toOffset: UInt64(8192 + whole.count))
        #expect(try file.readToEnd() == Data("more".utf8))
        try file.close()
        let reply = try await model.newChat().reply("hello")
        #expect(reply.text.hasPrefix("Hello"))
      }
    }

    @Test func aDescriptorThatIsNoneIsAnError() async throws {
      for (fd, offset) in [(Int32(-1), 0), (0, -1)] {
        let error = try await failure {
          try await Dormouse.load(.descriptor(fd: fd, offset: offset, length: 100))
        }
        guard case .invalidOptions = error else {
          Issue.record("\(error)")
          return
        }
      }
    }

    @Test func progressComesInOrderAndEndsAtOne() async throws {
      let shares = Shared<[Float]>([])
      _ = try await Dormouse.load(try tinyModel("scripted.gguf")) { share in
        shares.with { $0.append(share) }
      }
      let told = shares.with { $0 }
      #expect(told.last == 1)
      #expect(told == told.sorted())
      #expect(Set(told).count == told.count)
      #expect(told.allSatisfy { (0...1).contains($0) })
    }

    @MainActor
    @Test func progressCanBeTakenOnTheMainActor() async throws {
      var last: Float = -1
      _ = try await Dormouse.load(try tinyModel("scripted.gguf")) { @MainActor share in
        MainActor.assertIsolated()
        last = share
      }
      #expect(last == 1)
    }

    @Test func aCancelledTaskEndsTheLoad() async throws {
      let source = try tinyModel("scripted.gguf")
      let asSoonAsItStarts = Task {
        try await Dormouse.load(source) { _ in withUnsafeCurrentTask { $0?.cancel() } }
      }
      await #expect(throws: CancellationError.self) { _ = try await asSoonAsItStarts.value }
      let asItEnds = Task {
        try await Dormouse.load(source) { share in
          if share == 1 { withUnsafeCurrentTask { $0?.cancel() } }
        }
      }
      await #expect(throws: CancellationError.self) { _ = try await asItEnds.value }
      let before = Task {
        withUnsafeCurrentTask { $0?.cancel() }
        return try await Dormouse.load(source)
      }
      await #expect(throws: CancellationError.self) { _ = try await before.value }
    }

    @Test func aTemplateInPlaceOfTheFilesOwn() async throws {
      let template = "{% for m in messages %}{{ m.content }}{% endfor %}forever"
      let model = try await scripted(LoadOptions(chatTemplate: template))
      #expect(!model.info.takesTools)
      #expect(!model.info.reasons)
    }
  }
}
