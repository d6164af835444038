// swift-tools-version: 6.0
import Foundation
import PackageDescription

// A release carries the checksum of its own XCFramework; `ios/release/tag.sh` writes both lines.
// On the main branch there is none, and the XCFramework is the one that was built last.
let releasedURL = ""
let releasedChecksum = ""

/// Whether a file or folder of this package is on disk.
func exists(_ path: String) -> Bool {
  FileManager.default.fileExists(atPath: "\(Context.packageDirectory)/\(path)")
}

/// Ends the evaluation: SwiftPM shows what is printed.
func refuse(_ reason: String) -> Never {
  print(reason)
  exit(1)
}

// SwiftPM also asks for the manifest of a release before it has checked it out, when no file of it
// is on disk: what a release is made of may not depend on that.
let isRelease = !releasedChecksum.isEmpty
if !isRelease, !exists("ios/Generated/Swift") || !exists("ios/Generated/C") {
  refuse("ios/Generated is missing: depend on a released version, or run `cargo xtask bindings`")
}

#if os(Linux)
  // The engine is a static library there. That of this repository's own build is found by itself;
  // a package that depends on a release says where its library is with `-Xlinker -L`, as SwiftPM
  // lets no dependency choose search paths.
  let engine = Target.systemLibrary(name: "DormouseFFI", path: "ios/Sources/DormouseFFI")
  let libraryFolder = "ios/Generated/lib"
  let searchPath: [LinkerSetting] =
    exists("\(libraryFolder)/libdormouse_ffi.a")
    ? [.unsafeFlags(["-L\(Context.packageDirectory)/\(libraryFolder)"])] : []
  let linkerSettings = searchPath + [.linkedLibrary("gcc_s"), .linkedLibrary("m")]
#else
  let built = "build/DormouseFFI.xcframework"
  let linkerSettings: [LinkerSetting] = []
  let engine: Target =
    if exists(built) {
      .binaryTarget(name: "DormouseFFI", path: built)
    } else if isRelease {
      .binaryTarget(name: "DormouseFFI", url: releasedURL, checksum: releasedChecksum)
    } else {
      refuse(
        "\(built) is missing: depend on a released version, or run `cargo xtask package apple`")
    }
#endif

let package = Package(
  name: "dormouse",
  platforms: [.iOS(.v16), .macOS(.v13)],
  products: [
    .library(name: "Dormouse", targets: ["Dormouse"])
  ],
  targets: [
    engine,
    // What uniffi generates, visible within this package alone.
    .target(
      name: "DormouseGenerated",
      dependencies: ["DormouseFFI"],
      path: "ios/Generated/Swift",
      linkerSettings: linkerSettings
    ),
    .target(
      name: "Dormouse",
      dependencies: ["DormouseGenerated"],
      path: "ios/Sources/Dormouse",
      resources: [.copy("PrivacyInfo.xcprivacy")]
    ),
    .testTarget(
      name: "DormouseTests",
      dependencies: ["Dormouse"],
      path: "ios/Tests/DormouseTests"
    ),
  ],
  swiftLanguageModes: [.v6]
)
