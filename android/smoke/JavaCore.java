import java.io.IOException;
import java.net.URI;
import java.nio.file.FileSystem;
import java.nio.file.FileSystems;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.zip.ZipEntry;
import java.util.zip.ZipOutputStream;

/** Writes the classes of this Java that Android has, too, to a jar: {@code java JavaCore.java JAR}. */
class JavaCore {
    private static final String[] MODULES = {"java.base", "java.logging"};

    public static void main(String[] args) throws IOException {
        FileSystem runtime = FileSystems.getFileSystem(URI.create("jrt:/"));
        try (var jar = new ZipOutputStream(Files.newOutputStream(Path.of(args[0])))) {
            jar.setLevel(1);
            for (String name : MODULES) write(runtime.getPath("/modules", name), jar);
        }
    }

    private static void write(Path module, ZipOutputStream jar) throws IOException {
        try (var files = Files.walk(module)) {
            for (Path file : (Iterable<Path>) files::iterator) {
                String name = module.relativize(file).toString();
                if (!name.endsWith(".class") || name.equals("module-info.class")) continue;
                jar.putNextEntry(new ZipEntry(name));
                Files.copy(file, jar);
            }
        }
    }
}
