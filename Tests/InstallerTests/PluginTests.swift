import CNI
import Glibc
@testable import Installer
import Syscalls
import TestSupport
import Testing

/// Plugins in the runtime's directory, real files.
@Suite struct PluginTests {
  private let all = ["bridge", "flannel", "host-local", "loopback", "portmap"]

  @Test func flannelAloneByDefault() throws {
    let d = PluginDirectory()
    let program = try d.program()
    let said = try d.install(program)
    #expect(said.lines == ["installed \(d.bin)/flannel"])
    #expect(try d.names() == ["flannel"])
    #expect(try d.holds("flannel", program))
    #expect(try d.status("flannel").permissions == 0o755)
  }

  @Test func allShareAFileExceptFlannel() throws {
    let d = PluginDirectory()
    let program = try d.program()
    #expect(try d.install(program, "all").verbs == [String](repeating: "installed", count: 5))
    #expect(try d.names() == all)
    for name in all { #expect(try d.holds(name, program)) }
    let inodes = Set(try all.filter { $0 != "flannel" }.map { try d.status($0).inode })
    #expect(inodes.count == 1)
    #expect(try !inodes.contains(d.status("flannel").inode))
  }

  @Test func nothingIsTouchedTheSecondTime() throws {
    let d = PluginDirectory()
    let program = try d.program()
    try d.install(program, "all")
    let before = try all.map { try d.status($0) }
    #expect(try d.install(program, "all").verbs == [String](repeating: "unchanged", count: 5))
    #expect(try all.map { try d.status($0) } == before)
  }

  @Test func anotherReleaseTakesThePlaceOfEach() throws {
    let d = PluginDirectory()
    try d.install(try d.program("1"), "all")
    let newer = try d.program("2")
    let said = try d.install(newer, "all")
    #expect(said.verbs == [String](repeating: "updated", count: 5))
    #expect(said.warnings.isEmpty)
    for name in all { #expect(try d.holds(name, newer)) }
  }

  @Test func theSourceNeedNotHaveAMode() throws {
    let d = PluginDirectory()
    let program = try d.program()
    chmod(program, 0o600)
    try d.install(program)
    chmod("\(d.bin)/flannel", 0o644)
    #expect(try d.install(program).verbs == ["updated"])
    #expect(try d.status("flannel").permissions == 0o755)
  }

  // MARK: somebody else's

  @Test func flannelIsReplacedOthersAreNot() throws {
    let d = PluginDirectory()
    let (program, foreign) = (try d.program(), try d.foreign())
    for name in ["flannel", "bridge"] { try d.put(foreign, as: name) }
    let said = try d.install(program, "all")
    #expect(said.lines.first == "replaced \(d.bin)/flannel")
    #expect(said.warnings.count == 1)
    #expect(said.warnings.first?.hasPrefix("\(d.bin)/bridge is somebody else's") == true)
    #expect(try d.holds("flannel", program))
    #expect(try d.holds("bridge", foreign))
    #expect(try d.names() == all)
  }

  @Test func oneThatWasNamedIsAnErrorBeforeAnythingIsTouched() throws {
    let d = PluginDirectory()
    let (program, foreign) = (try d.program(), try d.foreign())
    try d.put(foreign, as: "portmap")
    let error = #expect(throws: InstallError.self) { try d.install(program, "bridge,portmap") }
    #expect(error?.description.contains("\(d.bin)/portmap is somebody else's") == true)
    #expect(error?.advice.contains("--replace-foreign") == true)
    #expect(try d.names() == ["portmap"])
    #expect(try d.holds("portmap", foreign))

    #expect(try d.install(program, "bridge,portmap", foreign: true).verbs == ["installed", "replaced"])
    #expect(try d.holds("portmap", program))
  }

  /// A text that mentions us is no program of ours; neither is a link that leads nowhere, a directory or a pipe.
  @Test(arguments: ["text", "dangling", "directory", "pipe"])
  func whatIsNoProgramIsForeign(_ kind: String) throws {
    let d = PluginDirectory()
    let program = try d.program()
    try Files.makeDirectory(d.bin)
    let place = "\(d.bin)/bridge"
    switch kind {
    case "text": try Files.writeAtomically(Array("#!/bin/sh\n# \(PluginRegistry.mark)\n".utf8), to: place, mode: 0o755)
    case "dangling": symlink("/nonexistent/cni", place)
    case "directory": try Files.makeDirectory(place)
    default: mkfifo(place, 0o644)
    }
    let before = try d.status("bridge")
    #expect(try d.install(program, "all").warnings.count == 1)
    #expect(try d.status("bridge") == before)
    if kind == "directory" {
      #expect(throws: InstallError.self) { try d.install(program, "bridge", foreign: true) }
      #expect(try d.names() == all)
    } else {
      #expect(try d.install(program, "bridge", foreign: true).verbs == ["replaced"])
      #expect(try d.holds("bridge", program))
    }
  }

  /// As on k3s, where the plugins are links to one program: the link is replaced, not what it leads to.
  @Test func aLinkIsReplacedItself() throws {
    let d = PluginDirectory()
    let (program, foreign) = (try d.program(), try d.foreign())
    try Files.makeDirectory(d.bin)
    symlink(foreign, "\(d.bin)/flannel")
    try d.install(program)
    #expect(try d.status("flannel").isRegular)
    #expect(try PluginFile.isForeign(foreign))
  }

  /// Flannel's own installer writes into the file that is there. It must not reach the other plugins.
  @Test func goingBackToFlannelLeavesTheOthers() throws {
    let d = PluginDirectory()
    let (program, foreign) = (try d.program(), try d.foreign())
    try d.install(program, "all")
    try d.put(foreign, as: "flannel")
    #expect(try d.holds("flannel", foreign))
    for name in all where name != "flannel" { #expect(try d.holds(name, program)) }
  }

  // MARK: refusals

  @Test func whatIsNotThereIsNamed() throws {
    let error = #expect(throws: InstallError.self) { try PluginChoice(parsing: "bridge,bandwidth") }
    #expect(
      error?.reason == "--plugins bridge,bandwidth: there is no plugin \"bandwidth\" in this version; it has flannel, "
        + "bridge, host-local, loopback, portmap")
    for text in ["", "flannel,", "all,flannel", "Flannel", "../flannel"] {
      #expect(throws: InstallError.self) { try PluginChoice(parsing: text) }
    }
  }

  @Test func aBadSourceTouchesNothing() throws {
    let d = PluginDirectory()
    #expect(throws: InstallError.self) { try d.install("\(d.root)/missing") }
    let error = #expect(throws: InstallError.self) { try d.install(try d.foreign()) }
    #expect(error?.description.contains("is not a program with the plugins of Weft") == true)
    #expect(throws: InstallError.self) { try d.install(d.root) }
    #expect(!Files.exists(d.bin))
  }

  // MARK: in use, and killed

  /// A running plugin's file cannot be written (`ETXTBSY`), which is what `cp` without `-f` meets; it can be replaced.
  @Test func aRunningPluginIsReplaced() throws {
    let d = PluginDirectory()
    let newer = try d.program("2")
    try d.install(try d.program("1"), "all")
    for plugin in ["flannel", "bridge"] {
      let running = try ChildProcess.start("\(d.bin)/\(plugin)", ["60"])
      defer {
        running.signal(SIGKILL)
        _ = try? running.wait()
      }
      let busy = #expect(throws: SystemError.self) { _ = try FileDescriptor.open("\(d.bin)/\(plugin)", O_WRONLY) }
      #expect(busy?.errno == .textBusy)
      #expect(try d.install(newer, plugin).verbs == ["updated"])
      #expect(try running.poll() == nil)
      #expect(try d.holds(plugin, newer))
    }
  }

  @Test func whatAKilledInstallationLeftGoes() throws {
    let d = PluginDirectory()
    let program = try d.program()
    try Files.makeDirectory(d.bin)
    for name in [".flannel.tmp12-ab", ".flannel.other", ".calico.tmp1"] {
      try Files.writeAtomically([0x7f], to: "\(d.bin)/\(name)", mode: 0o600)
    }
    try d.install(program)
    #expect(try d.names() == [".calico.tmp1", ".flannel.other", "flannel"])
  }
}

extension PluginFile {
  /// True for a file that is not ours.
  static func isForeign(_ path: String) throws -> Bool {
    if case .foreign = PluginFile(path, program: nil) { true } else { false }
  }
}
