import CNI
import Glibc
import Syscalls
import TestSupport
import Testing

/// The commands as they are shipped.
@Suite struct CommandTests {
  /// The program has the mark in its file, and the plugins beside it are found.
  @Test func thePluginsBesideTheProgram() throws {
    let d = PluginDirectory()
    let out = try weft("install", "plugins", "--bin-dir", d.bin, "--plugins", "all")
    #expect(out.exit.isSuccess, "\(out.errorText)")
    #expect(out.errorText.isEmpty)
    #expect(try d.names() == PluginRegistry.names.sorted())
    for name in PluginRegistry.names {
      #expect(
        try ChildProcess.run("\(d.bin)/\(name)").errorText.split(separator: " ").prefix(3).contains(Substring(name)))
    }
  }

  @Test func exitStatusOfForeignPlugins() throws {
    let d = PluginDirectory()
    try d.put(try d.foreign(), as: "bridge")
    let all = try weft("install", "plugins", "--bin-dir", d.bin, "--plugins", "all")
    #expect(all.exit.isSuccess)
    #expect(all.errorText.hasPrefix("warning: \(d.bin)/bridge is somebody else's"))
    let named = try weft("install", "plugins", "--bin-dir", d.bin, "--plugins", "bridge")
    #expect(named.exit == .status(1))
    #expect(named.errorText.hasPrefix("Error: \(d.bin)/bridge is somebody else's"))
  }

  /// Whenever an installer is killed, there is one of the two programs under the name, and the next one finishes.
  @Test func killedAtAnyMoment() throws {
    let d = PluginDirectory()
    let programs = [try d.program("1", padding: 2 << 20), try d.program("2", padding: 2 << 20)]
    let began = Clock.monotonic()
    let first = try weft("install", "plugins", "--bin-dir", d.bin, "--plugins", "all", "--source", programs[0])
    #expect(first.exit.isSuccess)
    let duration = Clock.monotonic() - began
    for round in 0..<15 {
      let child = try ChildProcess.start(
        try builtProduct("weft"),
        ["install", "plugins", "--bin-dir", d.bin, "--plugins", "all", "--source", programs[(round + 1) % 2]])
      Clock.sleep(nanoseconds: .random(in: 0...duration))
      child.signal(SIGKILL)
      _ = try child.wait()
      for name in PluginRegistry.names {
        #expect(try programs.contains { try d.holds(name, $0) }, "\(name) in round \(round)")
        #expect(try d.status(name).permissions == 0o755)
      }
    }
    try d.install(programs[0], "all")
    #expect(try d.names() == PluginRegistry.names.sorted())
    for name in PluginRegistry.names { #expect(try d.holds(name, programs[0])) }
  }

  @Test func severalAtOnce() throws {
    let d = PluginDirectory()
    let programs = [try d.program("1"), try d.program("2")]
    let children = try (0..<8).map {
      try ChildProcess.start(
        try builtProduct("weft"),
        ["install", "plugins", "--bin-dir", d.bin, "--plugins", "all", "--source", programs[$0 % 2]])
    }
    for child in children { #expect(try child.wait().isSuccess) }
    #expect(try d.names() == PluginRegistry.names.sorted())
    let first = try #require(try programs.first { try d.holds("flannel", $0) })
    for name in PluginRegistry.names { #expect(try d.holds(name, first)) }
  }

  @Test(.needsRoot) func aDirectoryThatCannotBeWritten() throws {
    let d = PluginDirectory()
    let program = try d.program()
    try Files.makeDirectory(d.bin)
    let readOnly = #"mount --bind "$1" "$1" && mount -o remount,bind,ro "$1" && shift && exec "$@""#
    let out = try weft(
      "install", "plugins", "--bin-dir", d.bin, "--source", program,
      through: ["/usr/bin/unshare", "--mount", "/bin/sh", "-c", readOnly, "sh", d.bin])
    #expect(out.exit == .status(1))
    #expect(out.errorText.contains("cannot install \(d.bin)/flannel: open \(d.bin)/.flannel.tmp"))
    #expect(out.errorText.contains("read-only file system"))
    let user = ["/usr/bin/setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]
    let denied = try weft("install", "plugins", "--bin-dir", d.bin, "--source", program, through: user)
    #expect(denied.exit == .status(1))
    #expect(denied.errorText.contains("permission denied"))
    #expect(try d.names() == [])
  }

  @Test func configurationList() throws {
    let directory = try TemporaryDirectory("conf")
    let source = try directory.write(ConfigurationTests.flannel, to: "cni-conf.json")
    let out = try weft("install", "conflist", "--source", source, "--conf-dir", directory.path)
    #expect(out.text == "installed \(directory.path)/10-flannel.conflist\n")
    try directory.write("{", to: "bad.json")
    let bad = try weft("install", "conflist", "--source", directory.file("bad.json"), "--conf-dir", directory.path)
    #expect(bad.exit == .status(1))
    #expect(bad.errorText.contains("is not a CNI configuration list"))
    #expect(try Files.text(directory.file("10-flannel.conflist")) == ConfigurationTests.flannel)
  }

  /// The name decides, as with Flannel's image.
  @Test func calledAsInstallConf() throws {
    let directory = try TemporaryDirectory("conf")
    let program = directory.file("install-conf")
    symlink(try builtProduct("weft"), program)
    let source = try directory.write("x", to: "source", mode: 0o640)
    #expect(try ChildProcess.run(program, [source, directory.file("copy")]).exit.isSuccess)
    #expect(try Files.status(directory.file("copy")).permissions == 0o640)
    let usage = try ChildProcess.run(program)
    #expect(usage.exit == .status(1))
    #expect(usage.errorText == "usage: \(program) <src> <dest>\n")
    let failed = try ChildProcess.run(program, ["/none", directory.file("copy")])
    #expect(failed.exit == .status(1))
    #expect(failed.errorText == "error installing \"/none\": open /none: no such file or directory\n")
  }
}
