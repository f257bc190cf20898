import KubeTypes
import Syscalls

extension ExecPlugin {
  /// Runs the program and reads what it prints. Blocks.
  func run(_ access: ClusterAccess) throws(AccessError) -> ExecCredential {
    let output: ChildProcess.Output
    do {
      output = try ChildProcess.run(
        try path(), arguments,
        environment: Environment.all + environment + ["KUBERNETES_EXEC_INFO=\(info(access))"], limit: 1 << 20)
    } catch let error as AccessError {
      throw error
    } catch {
      throw AccessError(place: "\(file): exec", "\(error)")
    }
    guard output.exit.isSuccess else {
      let text = output.errorText.split(separator: "\n").suffix(3).joined(separator: " ")
      throw AccessError(place: "\(file): exec", "\(command): \(output.exit)\(text.isEmpty ? "" : ": " + text)")
    }
    return try ExecCredential(parsing: output.stdout, plugin: self)
  }

  /// The program's path: as given, or the first in PATH.
  private func path() throws(AccessError) -> String {
    if command.utf8.contains(UInt8(ascii: "/")) { return command }
    for directory in (Environment.get("PATH") ?? "").split(separator: ":") {
      let path = "\(directory)/\(command)"
      if Files.isExecutable(path) { return path }
    }
    throw AccessError(
      place: "\(file): exec", "\(command): not found in PATH\(installHint.isEmpty ? "" : "; " + installHint)")
  }
}
