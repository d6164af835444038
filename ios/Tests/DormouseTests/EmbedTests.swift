import Foundation
import Testing

@testable import Dormouse

extension All {
  @Suite struct EmbedTests {
    /// A text, and what the engine itself has the tiny model make of it.
    struct Reference: Decodable {
      let text: String
      let vector: [Float]

      init() throws {
        let json = try bytes(of: try tinyModel("embedding.json"))
        self = try JSONDecoder().decode(Reference.self, from: json)
      }
    }

    @Test func anEmbeddingIsTheEnginesOwn() async throws {
      let reference = try Reference()
      let model = try await tiny()
      let vector = try await model.embed(reference.text)
      #expect(vector == reference.vector)
      #expect(vector.count == model.info.embeddingLength)
      #expect(abs(vector.reduce(0) { $0 + $1 * $1 } - 1) < 1e-5)
      // The file asks for the mean.
      #expect(try await model.embed(reference.text, pooling: .mean) == vector)
      let first = try await model.embed(reference.text, pooling: .first)
      let last = try await model.embed(reference.text, pooling: .last)
      #expect(first != vector && last != vector && first != last)
    }

    @Test func whatCannotBeEmbeddedSaysWhy() async throws {
      let unsaid = try await failure { try await scripted().embed("the user's words") }
      guard case .invalidOptions(let what) = unsaid else {
        Issue.record("\(unsaid)")
        return
      }
      #expect(what.contains("pool") && !what.contains("user's"))
      _ = try await scripted().embed("the user's words", pooling: .last)
      let model = try await tiny()
      guard case .invalidOptions = try await failure({ try await model.embed("") }) else {
        Issue.record("not the error for an empty text")
        return
      }
      _ = try await model.embed(String(repeating: "x", count: 512))
      let long = try await failure { try await model.embed(String(repeating: "x", count: 513)) }
      #expect(long == .contextFull(used: 513, max: 512))
      model.close()
      #expect(try await failure { try await model.embed("a") } == .closed)

      let needs = try await Dormouse.plan(try tinyModel("tiny.gguf")).needs
      let small = try await tiny(
        LoadOptions(memory: .bytes(needs.total - needs.kvCache / 2), contextLength: 16))
      _ = try await small.embed("x")
      let large = try await failure { try await small.embed(String(repeating: "x", count: 500)) }
      guard case .outOfMemory = large else {
        Issue.record("\(large)")
        return
      }
    }

    @Test func aCancelledTaskEndsTheEmbedding() async throws {
      let model = try await tiny()
      let long = String(repeating: "x", count: 500)
      var cut = 0
      for round in 0..<50 {
        let task = Task { try await model.embed(long) }
        for _ in 0..<round % 7 { await Task.yield() }
        task.cancel()
        do {
          _ = try await task.value
        } catch is CancellationError {
          cut += 1
        }
      }
      #expect(cut > 0, "no embedding was ever cut short")
      let reference = try Reference()
      #expect(try await model.embed(reference.text) == reference.vector)
    }

    @Test func closingTheModelEndsItsEmbeddings() async throws {
      let long = String(repeating: "x", count: 500)
      var closed = 0
      for round in 0..<20 {
        let model = try await tiny()
        let tasks = (0..<4).map { _ in Task { try await model.embed(long) } }
        for _ in 0..<round % 5 { await Task.yield() }
        model.close()
        for task in tasks {
          do {
            _ = try await task.value
          } catch DormouseError.closed {
            closed += 1
          }
        }
      }
      #expect(closed > 0, "no model was closed while it computed")
    }
  }
}
