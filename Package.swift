// swift-tools-version: 6.2
import PackageDescription

/// Settings of every target of ours. `strictMemorySafety` makes each unsafe operation visible at its call site.
let house: [SwiftSetting] = [
  .swiftLanguageMode(.v6),
  .strictMemorySafety(),
  .enableExperimentalFeature("Lifetimes"),
  .enableUpcomingFeature("ExistentialAny"),
  .enableUpcomingFeature("MemberImportVisibility"),
]

/// A library target of ours.
func library(_ name: String, _ dependencies: [Target.Dependency] = []) -> Target {
  .target(name: name, dependencies: dependencies, swiftSettings: house)
}

/// A test target of ours; tests are exempt from strict memory safety.
func tests(_ name: String, _ dependencies: [Target.Dependency], resources: [Resource] = []) -> Target {
  .testTarget(
    name: name, dependencies: dependencies, path: "Tests/\(name)", resources: resources,
    swiftSettings: [
      .swiftLanguageMode(.v6), .enableExperimentalFeature("Lifetimes"), .enableUpcomingFeature("ExistentialAny"),
    ])
}

let package = Package(
  name: "weft",
  products: [
    .executable(name: "weft", targets: ["weft"]),
    .executable(name: "weft-cni", targets: ["weft-cni"]),
  ],
  dependencies: [
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
    .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
    .package(url: "https://github.com/apple/swift-nio", from: "2.101.2"),
    .package(url: "https://github.com/apple/swift-nio-ssl", from: "2.37.6"),
  ],
  targets: [
    .target(name: "CLinux"),
    library("NetTypes"),
    library("JSON"),
    library("Syscalls", ["CLinux"]),
    library("Netlink", ["CLinux", "NetTypes", "Syscalls"]),
    library("Reconciler", ["NetTypes"]),
    library("HostNetwork", ["CLinux", "NetTypes", "Syscalls", "Netlink", "Reconciler"]),
    library("Firewall", ["CLinux", "NetTypes", "Syscalls", "Netlink"]),
    library("Subnets", ["NetTypes", "JSON", "Syscalls", "KubeTypes"]),
    library("Backends", ["NetTypes", "JSON", "Subnets"]),
    .systemLibrary(name: "CYAML", path: "Sources/CYAML"),
    library("KubeTypes", ["CYAML", "NetTypes", "JSON", "Syscalls"]),
    library(
      "KubeClient",
      [
        "KubeTypes", "JSON", "Syscalls",
        .product(name: "NIOCore", package: "swift-nio"),
        .product(name: "NIOHTTP1", package: "swift-nio"),
        .product(name: "NIOPosix", package: "swift-nio"),
        .product(name: "NIOSSL", package: "swift-nio-ssl"),
      ]),
    library("CNI", ["CLinux", "NetTypes", "JSON", "Syscalls", "Netlink", "Firewall"]),
    library(
      "Installer",
      ["CLinux", "NetTypes", "JSON", "Syscalls", "Netlink", "HostNetwork", "Firewall", "CNI"]),
    library(
      "Agent",
      [
        "CLinux", "NetTypes", "JSON", "Syscalls", "Netlink", "Reconciler", "HostNetwork", "Firewall", "Subnets",
        "Backends", "KubeTypes", "KubeClient",
        .product(name: "Logging", package: "swift-log"),
        .product(name: "NIOPosix", package: "swift-nio"),
        .product(name: "NIOCore", package: "swift-nio"),
        .product(name: "NIOHTTP1", package: "swift-nio"),
      ]),
    library("Lab", ["CLinux", "NetTypes", "JSON", "Syscalls", "Netlink", "CNI", "Subnets"]),
    .executableTarget(name: "weft-cni", dependencies: ["CNI"], swiftSettings: house),
    .executableTarget(
      name: "cni-bench", dependencies: ["JSON", "NetTypes", "Netlink", "Syscalls"], path: "Benchmarks/CNIBench",
      swiftSettings: house),
    .executableTarget(
      name: "weft",
      dependencies: [
        "Agent", "Installer", "Lab", .product(name: "ArgumentParser", package: "swift-argument-parser"),
      ], swiftSettings: house),
    .executableTarget(
      name: "agent-bench", dependencies: ["NetTypes", "Netlink", "Syscalls"], path: "Benchmarks/AgentBench",
      swiftSettings: [.swiftLanguageMode(.v6)]),
    .target(
      name: "TestSupport", dependencies: ["KubeTypes", "NetTypes", "JSON", "Syscalls", "Netlink"],
      path: "Tests/Support",
      swiftSettings: [.swiftLanguageMode(.v6), .enableUpcomingFeature("ExistentialAny")]),
    .target(
      name: "KubeSupport",
      dependencies: [
        "KubeTypes", "JSON", "NetTypes", "Netlink", "Syscalls", "TestSupport",
        .product(name: "NIOCore", package: "swift-nio"),
        .product(name: "NIOHTTP1", package: "swift-nio"),
        .product(name: "NIOPosix", package: "swift-nio"),
        .product(name: "NIOSSL", package: "swift-nio-ssl"),
      ], path: "Tests/KubeSupport",
      swiftSettings: [.swiftLanguageMode(.v6), .enableUpcomingFeature("ExistentialAny")]),
    tests("NetTypesTests", ["NetTypes"]),
    tests("JSONTests", ["JSON"]),
    tests("SyscallsTests", ["Syscalls"]),
    tests("NetlinkTests", ["CLinux", "Netlink", "NetTypes", "Syscalls", "TestSupport"]),
    tests("ReconcilerTests", ["Reconciler", "HostNetwork", "NetTypes", "TestSupport"]),
    tests("FirewallTests", ["Firewall", "Netlink", "NetTypes", "JSON", "Syscalls", "TestSupport"]),
    tests("SubnetsTests", ["Subnets", "KubeTypes", "NetTypes", "JSON", "Syscalls", "TestSupport"]),
    tests("BackendsTests", ["Backends", "Subnets", "NetTypes", "JSON", "TestSupport"]),
    tests("KubeTypesTests", ["KubeTypes", "JSON", "Syscalls", "TestSupport"]),
    tests("KubeClientTests", ["KubeClient", "KubeTypes", "KubeSupport", "JSON", "Syscalls", "TestSupport"]),
    tests("CNITests", ["CNI", "Firewall", "Netlink", "NetTypes", "JSON", "Syscalls", "TestSupport"]),
    tests("AgentTests", ["Agent", "Subnets", "NetTypes", "JSON", "Syscalls", "Netlink", "TestSupport"]),
    tests(
      "KubernetesTests",
      ["KubeSupport", "KubeTypes", "Subnets", "NetTypes", "JSON", "Syscalls", "Netlink", "TestSupport"]),
    tests("LabTests", ["Lab", "NetTypes", "JSON", "Syscalls", "TestSupport"]),
    tests(
      "KernelTests",
      [
        "Netlink", "HostNetwork", "Firewall", "Backends", "CNI", "Subnets", "NetTypes", "JSON", "Syscalls",
        "TestSupport",
      ]),
    tests("RuntimeTests", ["NetTypes", "JSON", "Syscalls", "Netlink", "TestSupport"]),
    tests(
      "InstallerTests", ["Installer", "CNI", "Netlink", "NetTypes", "JSON", "Syscalls", "TestSupport"]),
    tests("PackagingTests", ["KubeSupport", "JSON", "Syscalls", "TestSupport"]),
    tests("FaultTests", ["CNI", "Subnets", "NetTypes", "JSON", "Syscalls", "Netlink", "TestSupport"]),
  ]
)

// `WEFT_CORE=1 swift test --scratch-path .build-core` leaves out the agent, the lab and every package from elsewhere: a
// quick turn for work on netlink, rules and plugins.
if Context.environment["WEFT_CORE"] != nil {
  let outer = [
    "Agent", "KubeClient", "Lab", "weft", "KubeSupport", "AgentTests", "KubeClientTests", "KubernetesTests", "LabTests",
    "PackagingTests",
  ]
  package.products.removeAll { $0.name == "weft" }
  package.dependencies = []
  package.targets.removeAll { outer.contains($0.name) }
}

// `WEFT_FUZZ=1 swift build --scratch-path .build-fuzz` builds the decoders, instrumented, and the fuzzer; nothing else.
if Context.environment["WEFT_FUZZ"] != nil {
  let decoders = ["NetTypes", "JSON", "Syscalls", "KubeTypes", "Netlink", "Firewall", "Subnets", "Backends", "CNI"]
  let instrumented: [SwiftSetting] = [.unsafeFlags(["-sanitize=fuzzer", "-enable-testing"])]
  package.products = []
  package.dependencies = []
  package.targets.removeAll { !(decoders + ["CLinux", "CYAML"]).contains($0.name) }
  for target in package.targets where !["CLinux", "CYAML"].contains(target.name) {
    target.swiftSettings? += instrumented
  }
  package.targets.append(
    .executableTarget(
      name: "fuzz", dependencies: decoders.map { .byName(name: $0) }, path: "Fuzz", exclude: ["Corpus"],
      swiftSettings: [
        .swiftLanguageMode(.v6), .enableExperimentalFeature("Lifetimes"),
        .unsafeFlags(["-parse-as-library", "-sanitize=fuzzer"]),
      ],
      linkerSettings: [.unsafeFlags(["-sanitize=fuzzer"])]))
}
