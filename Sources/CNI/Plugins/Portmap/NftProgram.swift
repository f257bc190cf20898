import Syscalls

/// The program `nft`, needed for conditions only.
enum NftProgram {
  /// Loads a script, all of it or nothing.
  static func run(_ script: String, _ environment: PluginEnvironment) throws(CNIError) {
    guard let program = environment.program("nft") else {
      throw .plain(
        "conditions for nftables need the program nft, which is not in PATH: install nftables, or use the iptables "
          + "back end with conditions for it", .invalidConfiguration)
    }
    let out: ChildProcess.Output
    do throws(SystemError) {
      out = try ChildProcess.run(
        program, ["-f", "-"], environment: environment.entries, input: Array(script.utf8))
    } catch {
      throw .plain("failed to set up host ports: \(error)", .ioFailure)
    }
    guard out.exit.isSuccess else {
      throw .plain("failed to set up host ports with conditions: nft: \(out.exit): \(out.errorText)")
    }
  }
}
