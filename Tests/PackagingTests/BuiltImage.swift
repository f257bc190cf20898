import Glibc
import JSON
import Syscalls
import TestSupport

/// The image from `scripts/build-image`, loaded into a store of its own; removed with the value.
final class BuiltImage: Sendable {
  static let name = "localhost/weft:test"
  private let directory: TemporaryDirectory
  /// podman with a store of its own.
  let podman: Podman
  /// The image's files.
  let root: String

  init() throws {
    directory = try TemporaryDirectory("image")
    try directory.write(Self.configuration, to: "containers.conf")
    let archive = directory.file("weft.tar")
    _ = try Repository.checked("scripts/build-image", [archive, Self.name])
    podman = Podman(directory: directory.path)
    _ = try podman.checked(["load", "--quiet", "--input", archive])
    root =
      try podman.checked(["image", "mount", Self.name]).trimmingSpaces.split(separator: "\n").first.map(String.init)
      ?? ""
  }

  deinit { _ = try? podman.run(["image", "umount", "--all"]) }

  /// Runs a program of the image without a network; its output. Failure is thrown.
  func run(_ command: [String], _ options: [String]) throws -> String {
    let output = try attempt(command, options)
    guard output.exit.isSuccess else {
      throw PackagingError(description: "\(command.joined(separator: " ")): \(output.exit): \(output.errorText)")
    }
    return output.text + output.errorText
  }

  /// The same, whatever the end.
  func attempt(_ command: [String], _ options: [String]) throws -> ChildProcess.Output {
    try podman.run(["run", "--rm", "--network", "none"] + options + ["--entrypoint", "", Self.name] + command)
  }

  /// Limits are those that a machine without CAP_SYS_RESOURCE can give.
  private static let configuration = """
    [containers]
    default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
    [engine]
    cgroup_manager = "cgroupfs"
    events_logger = "file"
    runtime = "runc"
    """
}

/// podman with a store, a configuration and a run directory below a directory.
struct Podman: Sendable {
  let directory: String

  func run(_ arguments: [String]) throws -> ChildProcess.Output {
    let store = [
      "--storage-driver", "vfs", "--root", "\(directory)/root", "--runroot", "\(directory)/run", "--tmpdir",
      "\(directory)/tmp",
    ]
    return try ChildProcess.run(
      "/usr/bin/podman", store + arguments,
      environment: Environment.all + ["CONTAINERS_CONF=\(directory)/containers.conf"])
  }

  func checked(_ arguments: [String]) throws -> String {
    let output = try run(arguments)
    guard output.exit.isSuccess else {
      throw PackagingError(description: "podman \(arguments.joined(separator: " ")): \(output.errorText)")
    }
    return output.text
  }
}

/// A container that runs until it is stopped; killed with the value.
final class Container {
  private let podman: Podman
  private let id: String

  init(_ image: BuiltImage, _ options: [String], _ command: [String]) throws {
    podman = image.podman
    let words = ["run", "--detach"] + options + ["--entrypoint", "", BuiltImage.name] + command
    id = String(try podman.checked(words).split(separator: "\n").last ?? "")
  }

  deinit { _ = try? podman.run(["rm", "--force", "--time", "0", id]) }

  /// What it wrote so far.
  var log: String { (try? podman.run(["logs", id])).map { $0.text + $0.errorText } ?? "" }

  /// Sends SIGTERM and waits; the exit status.
  func stop() throws -> Int32 {
    _ = try podman.checked(["stop", "--time", "20", id])
    return try state("ExitCode")
  }

  /// Its process on this machine.
  var pid: Int32 { get throws { try state("Pid") } }

  private func state(_ name: String) throws -> Int32 {
    let number = try podman.checked(["inspect", "--format", "{{.State.\(name)}}", id])
    return number.split(separator: "\n").first.flatMap { Int32($0) } ?? -1
  }

  /// podman's words for a securityContext of Kubernetes; one that has no such words is an error. podman's own seccomp
  /// profile is what `RuntimeDefault` stands for.
  static func options(for context: JSONValue) throws -> [String] {
    var options: [String] = []
    for (name, value) in context.objectValue?.members ?? [] {
      switch (name, value) {
      case ("privileged", false), ("seccompProfile", ["type": "RuntimeDefault"]): break
      case ("allowPrivilegeEscalation", false): options += ["--security-opt", "no-new-privileges"]
      case ("readOnlyRootFilesystem", true): options += ["--read-only", "--read-only-tmpfs=false"]
      case ("capabilities", let capabilities):
        for drop in capabilities["drop"]?.arrayValue ?? [] { options += ["--cap-drop", drop.stringValue ?? ""] }
        for add in capabilities["add"]?.arrayValue ?? [] { options += ["--cap-add", add.stringValue ?? ""] }
      default: throw PackagingError(description: "securityContext: \(name) = \(value.text()) is not known here")
      }
    }
    return options
  }
}
