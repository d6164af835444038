import Dormouse
import Foundation

/// Measures decoding through the API as an app sees it: `dormouse-bench MODEL TOKENS [THREADS]`
/// prints one line of JSON. What the engine measured itself is beside it.
@main
struct Main {
  struct Result: Encodable {
    /// Tokens chosen.
    let tokens: Int
    /// From the first event to the last.
    let seconds: Double
    /// Tokens after the first, by those seconds.
    let tokensPerSecond: Double
    /// The engine's own figure.
    let engineTokensPerSecond: Double?
    /// How long the engine waited for events to be taken.
    let stalledSeconds: Double
    let finishReason: String
  }

  static func main() async {
    do {
      try await run()
    } catch {
      FileHandle.standardError.write(Data("\(error.localizedDescription)\n".utf8))
      exit(1)
    }
  }

  static func run() async throws {
    let arguments = Array(CommandLine.arguments.dropFirst())
    let numbers = arguments.dropFirst().map { Int($0) }
    guard (1...2).contains(numbers.count), let tokens = numbers[0], !numbers.contains(nil) else {
      FileHandle.standardError.write(Data("usage: dormouse-bench MODEL TOKENS [THREADS]\n".utf8))
      exit(2)
    }
    let threads = numbers.count == 2 ? numbers[1] : nil
    let options = LoadOptions(threads: threads, energy: .performance)
    let model = try await Dormouse.load(.path(arguments[0]), options: options)
    _ = try await measure(model, tokens: min(tokens, 16))
    let result = try await measure(model, tokens: tokens)
    let encoder = JSONEncoder()
    encoder.keyEncodingStrategy = .convertToSnakeCase
    encoder.outputFormatting = .sortedKeys
    print(String(decoding: try encoder.encode(result), as: UTF8.self))
  }

  static func measure(_ model: Model, tokens: Int) async throws -> Result {
    let options = ReplyOptions(sampler: .greedy(), maxTokens: tokens)
    let clock = ContinuousClock()
    var first: ContinuousClock.Instant?
    for try await event in model.complete("Once upon a time", options: options) {
      if first == nil { first = clock.now }
      if case .done(let metrics, let finishReason, _) = event, let first {
        let taken = (clock.now - first).components
        let seconds = Double(taken.seconds) + Double(taken.attoseconds) * 1e-18
        return Result(
          tokens: metrics.generatedTokens,
          seconds: seconds,
          tokensPerSecond: Double(metrics.generatedTokens - 1) / seconds,
          engineTokensPerSecond: metrics.decodeRate,
          stalledSeconds: metrics.stalledSeconds,
          finishReason: "\(finishReason)")
      }
    }
    throw DormouseError.internal(place: "bench", what: "the reply has no end")
  }
}
