// swift-tools-version: 6.0
import Foundation
import PackageDescription

// An app's own package: it knows the SDK by the URL of a git repository and a version.
guard let url = Context.environment["DORMOUSE_RELEASE_URL"],
  let version = Context.environment["DORMOUSE_RELEASE_VERSION"].flatMap(Version.init)
else {
  print("DORMOUSE_RELEASE_URL and DORMOUSE_RELEASE_VERSION name no release")
  exit(1)
}

let package = Package(
  name: "consumer",
  platforms: [.macOS(.v13)],
  dependencies: [.package(url: url, exact: version)],
  targets: [
    .executableTarget(
      name: "consumer",
      dependencies: [.product(name: "Dormouse", package: "dormouse")]
    ),
    // Does not compile; see consumer.sh.
    .target(name: "intruder", dependencies: [.product(name: "Dormouse", package: "dormouse")]),
  ],
  swiftLanguageModes: [.v6]
)
