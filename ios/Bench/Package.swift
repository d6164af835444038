// swift-tools-version: 6.0
import PackageDescription

// A package of its own, so that apps that use the SDK do not see it among its products.
let package = Package(
  name: "dormouse-bench",
  platforms: [.macOS(.v13)],
  dependencies: [.package(name: "dormouse", path: "../..")],
  targets: [
    .executableTarget(
      name: "dormouse-bench",
      dependencies: [.product(name: "Dormouse", package: "dormouse")]
    )
  ],
  swiftLanguageModes: [.v6]
)
