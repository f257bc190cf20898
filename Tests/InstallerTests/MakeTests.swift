import Glibc
import Syscalls
import TestSupport
import Testing

/// `make install` and the unit of the service manager.
@Suite struct MakeTests {
  private let directory = try? TemporaryDirectory("make")
  private var root: String { directory?.path ?? "/nonexistent" }

  /// Runs `make` in the repository with the built programs as they are.
  private func make(_ words: String...) throws -> ChildProcess.Output {
    let repository = Files.split(Files.split(Files.split(#filePath).directory).directory).directory
    let built = Files.split(try builtProduct("weft")).directory
    return try ChildProcess.run(
      "/usr/bin/make", ["-s", "-C", repository, "-o", "build", "BIN=\(built)"] + words,
      // The tests may be run by make, whose own options are not meant for this one.
      environment: Environment.all.filter { !$0.hasPrefix("MAKE") && !$0.hasPrefix("MFLAGS") })
  }

  private func files() throws -> [String] { try files("").sorted() }
  private func files(_ path: String) throws -> [String] {
    try Files.list(root + path).flatMap { name in
      let file = "\(path)/\(name)"
      return try Files.linkStatus(root + file).isDirectory ? try files(file) : [file]
    }
  }

  @Test func onThisMachine() throws {
    let places = [
      "PREFIX=\(root)/usr", "SYSCONFDIR=\(root)/etc", "CNI_BIN_DIR=\(root)/cni", "CNI_CONF_DIR=\(root)/net.d",
    ]
    try Files.makeDirectory("\(root)/cni")
    try Files.writeAtomically(Array("other".utf8), to: "\(root)/cni/tuning", mode: 0o755)
    for round in 0..<2 {
      let out = try make("install", places[0], places[1], places[2], places[3])
      #expect(out.exit.isSuccess, "\(out.errorText)")
      #expect(out.text == "\(round == 0 ? "installed" : "unchanged") \(root)/cni/flannel\n")
      // What the administrator writes stays.
      if round == 0 { try directory?.write("FLANNELD_IFACE=eth7\n", to: "etc/weft/agent.env") }
    }
    #expect(
      try files() == [
        "/cni/flannel", "/cni/tuning", "/etc/weft/agent.env", "/usr/bin/flanneld", "/usr/bin/weft", "/usr/bin/weft-cni",
        "/usr/lib/systemd/system/weft.service",
      ])
    #expect(try Files.text("\(root)/etc/weft/agent.env") == "FLANNELD_IFACE=eth7\n")
    #expect(try ChildProcess.run("\(root)/usr/bin/flanneld", ["--version"]).exit.isSuccess)
    try unitIsAccepted("\(root)/usr/lib/systemd/system/weft.service")

    let out = try make("uninstall", places[0], places[1], places[2], places[3])
    #expect(out.exit.isSuccess, "\(out.errorText)")
    #expect(try files() == ["/cni/tuning", "/etc/weft/agent.env"])
  }

  @Test func intoADirectoryForAPackage() throws {
    let out = try make("install", "DESTDIR=\(root)", "PREFIX=/usr", "INSTALL_PLUGINS=all")
    #expect(out.exit.isSuccess, "\(out.errorText)")
    let plugins = ["bridge", "flannel", "host-local", "loopback", "portmap"].map { "/opt/cni/bin/\($0)" }
    #expect(
      try files() == ["/etc/weft/agent.env"] + plugins + [
        "/usr/bin/flanneld", "/usr/bin/weft", "/usr/bin/weft-cni", "/usr/lib/systemd/system/weft.service",
      ])
    let unit = try Files.text("\(root)/usr/lib/systemd/system/weft.service")
    #expect(unit.contains("\nExecStart=/usr/bin/weft agent\n"))
    #expect(unit.contains("\nEnvironmentFile=-/etc/weft/agent.env\n"))
    #expect(try make("uninstall", "DESTDIR=\(root)", "PREFIX=/usr").exit.isSuccess)
    #expect(try files() == ["/etc/weft/agent.env"])
  }

  /// systemd knows every word of the unit, finds its programs, and rates its confinement: 0 is the best, 10 the worst.
  private func unitIsAccepted(_ unit: String) throws {
    let analyze = "/usr/bin/systemd-analyze"
    let verified = try ChildProcess.run(analyze, ["verify", unit])
    #expect(verified.exit.isSuccess)
    #expect(verified.text + verified.errorText == "")
    let rated = try ChildProcess.run(analyze, ["security", "--offline=yes", "--threshold=30", unit])
    #expect(rated.exit.isSuccess, "\(rated.text)")
  }
}
