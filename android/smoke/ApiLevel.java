import java.io.IOException;
import java.io.InputStream;
import java.io.ObjectInputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Deque;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.zip.GZIPInputStream;
import java.util.zip.ZipEntry;
import java.util.zip.ZipFile;
import org.codehaus.mojo.animal_sniffer.Clazz;
import org.objectweb.asm.ClassReader;
import org.objectweb.asm.ClassVisitor;
import org.objectweb.asm.ConstantDynamic;
import org.objectweb.asm.FieldVisitor;
import org.objectweb.asm.Handle;
import org.objectweb.asm.Label;
import org.objectweb.asm.MethodVisitor;
import org.objectweb.asm.Opcodes;
import org.objectweb.asm.Type;

/**
 * Checks that every class, method and field that a jar names exists, in it, in the jars that come with
 * it, or in the public API of an Android version; the JDK that runs this is not looked at.
 *
 * <p>{@code java ApiLevel.java SIGNATURES JAR [OTHER_JAR...]}: the first jar is checked, the others are
 * there. Prints what is missing, a line each, and ends with 1 if there is anything.
 */
class ApiLevel {
    /** What D8 turns into plain code for every API level. Their types are in no other place. */
    private static final Set<String> DESUGARED =
            Set.of("java/lang/invoke/LambdaMetafactory", "java/lang/invoke/StringConcatFactory");

    /** A class as a reference sees it: members are {@code name(types)type} and {@code name#type}. */
    private record Known(Set<String> members, String parent, List<String> interfaces) {}

    private final Map<String, Known> known = new HashMap<>();
    private final Set<String> missing = new TreeSet<>();
    private int references;

    public static void main(String[] args) throws Exception {
        ApiLevel check = new ApiLevel();
        check.readApi(Path.of(args[0]));
        int api = check.known.size();
        for (String jar : Arrays.asList(args).subList(1, args.length)) {
            for (byte[] bytes : classes(jar)) check.learn(new ClassReader(bytes));
        }
        List<byte[]> checked = classes(args[1]);
        for (byte[] bytes : checked) check.check(new ClassReader(bytes));
        check.missing.forEach(System.out::println);
        System.err.printf(
                "%d classes with %d references, against %d of the API: %d missing%n",
                checked.size(), check.references, api, check.missing.size());
        // Nothing looked at, nothing found.
        if (checked.isEmpty() || check.references == 0 || api < 1000) System.exit(2);
        System.exit(check.missing.isEmpty() ? 0 : 1);
    }

    private void readApi(Path signatures) throws IOException, ClassNotFoundException {
        try (InputStream file = Files.newInputStream(signatures);
                ObjectInputStream in = new ObjectInputStream(new GZIPInputStream(file))) {
            while (in.readObject() instanceof Clazz c) {
                known.put(c.getName(), new Known(c.getSignatures(), c.getSuperClass(), List.of(c.getSuperInterfaces())));
            }
        }
    }

    private static List<byte[]> classes(String jar) throws IOException {
        List<byte[]> classes = new ArrayList<>();
        try (ZipFile zip = new ZipFile(jar)) {
            for (ZipEntry entry : zip.stream().toArray(ZipEntry[]::new)) {
                String name = entry.getName();
                // Variants for other Javas are not read on Android.
                if (!name.endsWith(".class") || name.startsWith("META-INF/")) continue;
                if (name.endsWith("module-info.class")) continue;
                try (InputStream in = zip.getInputStream(entry)) {
                    classes.add(in.readAllBytes());
                }
            }
        }
        return classes;
    }

    private void learn(ClassReader reader) {
        Set<String> members = new HashSet<>();
        reader.accept(
                new ClassVisitor(Opcodes.ASM9) {
                    @Override
                    public MethodVisitor visitMethod(int access, String name, String type, String generic, String[] thrown) {
                        members.add(name + type);
                        return null;
                    }

                    @Override
                    public FieldVisitor visitField(int access, String name, String type, String generic, Object value) {
                        members.add(name + "#" + type);
                        return null;
                    }
                },
                ClassReader.SKIP_CODE | ClassReader.SKIP_DEBUG);
        known.put(reader.getClassName(), new Known(members, reader.getSuperName(), List.of(reader.getInterfaces())));
    }

    private void check(ClassReader reader) {
        References found = new References(reader.getClassName());
        found.isThere(reader.getSuperName());
        for (String name : reader.getInterfaces()) found.isThere(name);
        reader.accept(found, ClassReader.SKIP_DEBUG);
    }

    /** Whether {@code member} is found from {@code owner} up; a class that is missing is told by itself. */
    private boolean has(String owner, String member) {
        Deque<String> open = new ArrayDeque<>(List.of(owner));
        while (!open.isEmpty()) {
            Known c = known.get(open.pop());
            if (c == null) continue;
            if (c.members.contains(member)) return true;
            if (c.parent != null) open.push(c.parent);
            c.interfaces.forEach(open::push);
        }
        // An interface's methods are Object's, too.
        return known.get("java/lang/Object").members.contains(member);
    }

    /** Everything that a class names. */
    private final class References extends ClassVisitor {
        private final String from;

        References(String from) {
            super(Opcodes.ASM9);
            this.from = from;
        }

        void isThere(String name) {
            isThere(Type.getObjectType(name));
        }

        void isThere(Type type) {
            switch (type.getSort()) {
                case Type.ARRAY -> isThere(type.getElementType());
                case Type.METHOD -> {
                    isThere(type.getReturnType());
                    for (Type argument : type.getArgumentTypes()) isThere(argument);
                }
                case Type.OBJECT -> {
                    references++;
                    if (!known.containsKey(type.getInternalName())) {
                        missing.add(from + ": no class " + type.getInternalName());
                    }
                }
                default -> {}
            }
        }

        void isThere(String owner, String name, String type, boolean field) {
            isThere(owner);
            isThere(Type.getType(type));
            references++;
            // Arrays have what Object has, and a `clone` that is theirs.
            boolean array = owner.startsWith("[");
            if (array && name.equals("clone")) return;
            String home = array ? "java/lang/Object" : owner;
            if (known.containsKey(home) && !has(home, field ? name + "#" + type : name + type)) {
                missing.add(from + ": no " + (field ? "field " : "method ") + owner + "." + name + " " + type);
            }
        }

        void isThere(Handle handle) {
            isThere(handle.getOwner(), handle.getName(), handle.getDesc(), handle.getTag() <= Opcodes.H_PUTSTATIC);
        }

        void constant(Object value) {
            if (value instanceof Type type) isThere(type);
            if (value instanceof Handle handle) isThere(handle);
            if (value instanceof ConstantDynamic) missing.add(from + ": a dynamic constant, which D8 does not take");
        }

        @Override
        public FieldVisitor visitField(int access, String name, String type, String generic, Object value) {
            isThere(Type.getType(type));
            return null;
        }

        @Override
        public MethodVisitor visitMethod(int access, String name, String type, String generic, String[] thrown) {
            isThere(Type.getType(type));
            if (thrown != null) for (String error : thrown) isThere(error);
            return new MethodVisitor(Opcodes.ASM9) {
                @Override
                public void visitTypeInsn(int opcode, String named) {
                    isThere(named);
                }

                @Override
                public void visitFieldInsn(int opcode, String owner, String member, String of) {
                    isThere(owner, member, of, true);
                }

                @Override
                public void visitMethodInsn(int opcode, String owner, String member, String of, boolean itf) {
                    isThere(owner, member, of, false);
                }

                @Override
                public void visitInvokeDynamicInsn(String member, String of, Handle bootstrap, Object... arguments) {
                    isThere(Type.getType(of));
                    if (!DESUGARED.contains(bootstrap.getOwner())) isThere(bootstrap);
                    for (Object argument : arguments) constant(argument);
                }

                @Override
                public void visitLdcInsn(Object value) {
                    constant(value);
                }

                @Override
                public void visitMultiANewArrayInsn(String of, int dimensions) {
                    isThere(Type.getType(of));
                }

                @Override
                public void visitTryCatchBlock(Label start, Label end, Label handler, String caught) {
                    if (caught != null) isThere(caught);
                }
            };
        }
    }
}
