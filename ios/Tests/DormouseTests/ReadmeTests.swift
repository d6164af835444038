import Foundation
import Testing

extension All {
  @Suite struct ReadmeTests {
    /// What it prints is not caught; that it runs to the end is.
    @Test func theExampleOfTheFrontPageRuns() async throws {
      let folder = try #require(ProcessInfo.processInfo.environment["DORMOUSE_TINY_MODELS"])
      try await ask("\(folder)/scripted.gguf", "hi")
    }
  }
}
